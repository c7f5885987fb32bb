"""A language model leaves crystals unanswered: what it is scored on, and that silence wins nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from rhoflow.config import Study, load_study
from rhoflow.errors import StudyError
from rhoflow.report.comparisons import comparisons_frame
from rhoflow.report.figures import write_figures
from rhoflow.report.headline import compare
from rhoflow.report.html import write_report
from rhoflow.report.provenance import Code
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, read_series
from rhoflow.report.tables import write_tables
from rhoflow.training.evaluate import RunKey, score, write_run
from rhoflow.training.scaler import Scaler

EXACT = 1e-12
CONFIG = {"study": "made-up", "models": ["image", "llm"], "report": {"bootstrap": 100}}


@pytest.fixture
def study() -> Study:
    return load_study({**CONFIG, "llm": {"dry_run": False}})


def write_llm_runs(root: Path, failed: list[Collection[str]], *, error: float = 0.0) -> None:
    """Runs of the language model for k_vrh, off by `error` [GPa], without the crystals in `failed` (a set a fold)."""
    for fold, silent in enumerate(failed):
        table = pd.read_parquet(root / f"runs/image/k_vrh/none/fold{fold}/seed0/predictions.parquet")
        train = table.loc[table["part"] == "train", "y_true"].to_numpy()
        asked = table[table["part"] != "train"]
        answered = asked[~asked["material_id"].isin(silent)]
        filled = np.where(asked["material_id"].isin(silent), train.mean(), asked["y_true"] + error)
        with_mean = {
            part: score(rows["y_true"].to_numpy(), filled[asked["part"] == part])
            for part, rows in asked.groupby("part")
        }
        key = RunKey("llm", "k_vrh", "formula", fold, 0)
        write_run(
            key.folder(root),
            key=key,
            unit="GPa",
            ids=answered["material_id"].to_numpy(np.str_),
            part=answered["part"].to_numpy(np.str_),
            y_true=answered["y_true"].to_numpy(),
            y_pred=answered["y_true"].to_numpy() + error,
            scaler=Scaler.fit(train),
            training={
                "weights": {"llm": "some-model"},
                "asked": {part: len(rows) for part, rows in asked.groupby("part")},
                "failed": dict.fromkeys(sorted(silent), "no number"),
                "metrics_with_mean": with_mean,
            },
        )


def held_out(root: Path) -> pd.DataFrame:
    table = pd.read_parquet(root / "runs/image/k_vrh/none/fold0/seed0/predictions.parquet")
    return table[table["part"] == "test"].sort_values("material_id", ignore_index=True)


def llm(root: Path, study: Study) -> Series:
    return next(one for one in read_series(root, study) if one.model == "llm")


def test_runs_share_the_crystals_that_all_answered(small_root: Path, study: Study) -> None:
    table = held_out(small_root)
    first, second, *rest = table["material_id"]
    write_llm_runs(small_root, [{first}, {second}, set()], error=2.0)
    ids, y_true, y_pred = llm(small_root, study).common_test()
    assert ids.tolist() == rest
    assert y_true.tolist() == table["y_true"][2:].tolist()
    assert y_pred == pytest.approx(np.tile(table["y_true"][2:] + 2.0, (3, 1)), abs=EXACT)


def test_target_that_changed_between_two_runs_is_an_error(small_root: Path, study: Study) -> None:
    first = held_out(small_root)["material_id"][0]
    write_llm_runs(small_root, [{first}, set(), set()])
    file = small_root / "runs/llm/k_vrh/formula/fold1/seed0/predictions.parquet"
    table = pd.read_parquet(file)
    table.loc[table["part"] == "test", "y_true"] += 1.0
    table.to_parquet(file, index=False)
    with pytest.raises(StudyError, match=r"runs/llm/k_vrh/formula/fold1/seed0: its test set is not that of"):
        llm(small_root, study).common_test()


@pytest.mark.parametrize("fold", [0, 1])
def test_crystal_missing_without_a_failed_answer_is_an_error(small_root: Path, study: Study, fold: int) -> None:
    write_llm_runs(small_root, [set(), set(), set()])
    file = small_root / f"runs/llm/k_vrh/formula/fold{fold}/seed0/predictions.parquet"
    table = pd.read_parquet(file)
    table.drop(index=table.index[table["part"] == "test"][0]).to_parquet(file, index=False)
    with pytest.raises(StudyError, match="its test set is not that of"):
        llm(small_root, study).common_test()


def test_silence_wins_nothing(small_root: Path, study: Study) -> None:
    """Exact on the two crystals that it answers, R2 = 1; on the others it is the mean predictor."""
    table = held_out(small_root)
    write_llm_runs(small_root, [set(table["material_id"][2:])] * 3)
    test = results_frame(read_series(small_root, study), resamples=100).query("target == 'k_vrh' and part == 'test'")
    row = test.set_index("model").loc["llm"]
    assert row["r2_mean"] == pytest.approx(1.0, abs=EXACT)
    assert (row["n"], row["n_asked"]) == (2, len(table))
    means = [
        pd.read_parquet(small_root / f"runs/image/k_vrh/none/fold{k}/seed0/predictions.parquet")
        .query("part == 'train'")["y_true"]
        .mean()
        for k in range(3)
    ]
    filled = [np.where(np.arange(len(table)) < 2, table["y_true"], mean) for mean in means]
    assert row["r2_all"] == pytest.approx(np.mean([r2_score(table["y_true"], one) for one in filled]), abs=EXACT)
    assert row["r2_all"] < test["r2_all"].max()
    assert not row["best"]
    assert test["best"].sum() == 1


def test_language_model_that_answers_everything_can_be_the_best(small_root: Path, study: Study) -> None:
    write_llm_runs(small_root, [set()] * 3, error=0.1)
    frame = results_frame(read_series(small_root, study), resamples=100)
    assert frame.query("best and target == 'k_vrh'")["model"].tolist() == ["llm"]
    others = frame[frame["model"] != "llm"]
    assert (others["r2_all"] == others["r2_mean"]).all()
    assert (others["n_asked"] == others["n_max"]).all()


def test_other_models_are_compared_on_the_answered_crystals(small_root: Path, study: Study) -> None:
    silent = set(held_out(small_root)["material_id"][:4])
    write_llm_runs(small_root, [silent] * 3)
    series = {one.model: one for one in read_series(small_root, study) if one.target == "k_vrh"}
    pair = compare(series["llm"], series["quantiles-ridge"], resamples=100)
    assert pair.n == len(held_out(small_root)) - 4
    frame = comparisons_frame([series["llm"], series["quantiles-ridge"]], resamples=100)
    assert frame[["model", "n"]].to_numpy().tolist() == [["llm", pair.n]]
    assert frame["rmse_difference"].item() < 0


def test_dry_run_has_no_row(small_root: Path) -> None:
    write_llm_runs(small_root, [set()] * 3)
    models = {one.model for one in read_series(small_root, load_study(CONFIG))}
    assert "image" in models
    assert "llm" not in models


def test_table_report_and_figures_name_the_language_model(small_root: Path, study: Study, code: Code) -> None:
    table = held_out(small_root)
    write_llm_runs(small_root, [set(table["material_id"][:2])] * 3)
    write_tables(small_root, small_root / "tables", study=study, code=code)
    write_figures(small_root, small_root / "figures", study=study)
    write_report(small_root, small_root / "report.html", study=study, code=code)
    text = (small_root / "tables/results.md").read_text()
    assert "| *Language model* |" in text
    assert "| Language model in context | formula |" in text
    assert f"validation and {len(table) - 2} of {len(table)} test crystals" in text
    assert "with the training mean for the others its test R² is" in text
    assert "Language model in context" in (small_root / "report.html").read_text()
    assert "language model (square)" in (small_root / "figures/figures.json").read_text()
