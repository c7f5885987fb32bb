from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import r2_score, root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.comparisons import comparisons_frame, pairs
from rhoflow.report.provenance import Code
from rhoflow.report.runs import Run, Series, read_series
from rhoflow.report.significance import holm
from rhoflow.report.tables import write_tables
from rhoflow.report.verdicts import comparisons_table, verdict

EXACT = 1e-10
REFERENCES = ["magpie-forest", "pixels-ridge", "quantiles-ridge"]


@pytest.fixture(scope="module")
def series(root: Path, study: Study) -> list[Series]:
    return read_series(root, study)


@pytest.fixture(scope="module")
def frame(series: list[Series]) -> pd.DataFrame:
    return comparisons_frame(series, resamples=200)


def of(series: list[Series], model: str, level: str = "none", target: str = "k_vrh") -> Series:
    return next(one for one in series if (one.model, one.level, one.target) == (model, level, target))


def predictions(root: Path, kind: str, fold: int, part: str) -> pd.DataFrame:
    table = pd.read_parquet(root / f"runs/{kind}/fold{fold}/seed0/predictions.parquet")
    return table[table["part"] == part].set_index("material_id").sort_index()


def repeated(one: Series, seed: int, *, shift: float = 0.0, folds: tuple[int, ...] = (0, 1, 2)) -> list[Run]:
    """Runs under another seed, predictions moved by `shift`."""
    return [
        dataclasses.replace(
            run,
            key=dataclasses.replace(run.key, seed=seed),
            predictions=run.predictions.assign(y_pred=run.predictions["y_pred"] + shift),
        )
        for run in one.runs
        if run.key.fold in folds
    ]


def with_runs(one: Series, runs: list[Run], model: str | None = None) -> Series:
    ordered = sorted([*one.runs, *runs], key=lambda run: (run.key.fold, run.key.seed))
    return dataclasses.replace(one, runs=tuple(ordered), model=model or one.model)


def test_every_network_meets_every_reference(frame: pd.DataFrame) -> None:
    for _, rows in frame.groupby("target"):
        assert len(rows) == 7 * 3
        assert set(rows["comparisons"]) == {21}
        assert not rows.duplicated(["model", "level", "reference"]).any()
        assert sorted(set(rows["reference"])) == REFERENCES
        assert set(rows["model"]) == {"image", "text", "fusion"}


def test_differences_are_those_of_the_prediction_files(root: Path, frame: pd.DataFrame) -> None:
    row = frame.set_index(["target", "model", "level", "reference"]).loc["k_vrh", "text", "all", "quantiles-ridge"]
    for part, column in (("test", "rmse_difference"), ("val", "val_rmse_difference")):
        found = []
        for fold in range(3):
            ours = predictions(root, "text/k_vrh/all", fold, part)
            theirs = predictions(root, "quantiles-ridge/k_vrh/density", fold, part)
            found.append(
                root_mean_squared_error(ours["y_true"], ours["y_pred"])
                - root_mean_squared_error(theirs["y_true"], theirs["y_pred"])
            )
        assert row[column] == pytest.approx(np.mean(found), rel=EXACT)
    r2 = [
        r2_score(ours["y_true"], ours["y_pred"]) - r2_score(theirs["y_true"], theirs["y_pred"])
        for fold in range(3)
        for ours, theirs in [
            [predictions(root, kind, fold, "test") for kind in ("text/k_vrh/all", "quantiles-ridge/k_vrh/density")]
        ]
    ]
    assert row["r2_difference"] == pytest.approx(np.mean(r2), rel=EXACT)


def test_t_test_over_folds_is_nadeau_and_bengios(root: Path, frame: pd.DataFrame) -> None:
    row = frame.set_index(["target", "model", "level", "reference"]).loc["k_vrh", "image", "none", "magpie-forest"]
    kinds = ("image/k_vrh/none", "magpie-forest/k_vrh/none")
    d, shares = [], []
    for fold in range(3):
        ours, theirs = (predictions(root, kind, fold, "val") for kind in kinds)
        d.append(
            root_mean_squared_error(ours["y_true"], ours["y_pred"])
            - root_mean_squared_error(theirs["y_true"], theirs["y_pred"])
        )
        shares.append(len(ours) / len(predictions(root, kinds[0], fold, "train")))
    t = np.mean(d) / np.sqrt((1 / 3 + np.mean(shares)) * np.var(d, ddof=1))
    assert row["val_t"] == pytest.approx(t, rel=EXACT)
    assert row["val_dof"] == 2
    assert row["val_p"] == pytest.approx(2 * scipy.stats.t.sf(abs(t), 2), rel=1e-8)


def test_holm_runs_over_the_family_of_one_target(frame: pd.DataFrame) -> None:
    for _, rows in frame.groupby("target"):
        assert rows["p_holm"].to_numpy() == pytest.approx(holm(rows["p"]))
        assert rows["val_p_holm"].to_numpy() == pytest.approx(holm(rows["val_p"]))


def test_interval_holds_the_difference(frame: pd.DataFrame) -> None:
    for metric in ("rmse", "r2"):
        assert (frame[f"{metric}_low"] < frame[f"{metric}_difference"]).all()
        assert (frame[f"{metric}_difference"] < frame[f"{metric}_high"]).all()


def test_another_seed_with_the_same_predictions_is_no_new_evidence(series: list[Series]) -> None:
    image, forest = of(series, "image"), of(series, "magpie-forest")
    once = comparisons_frame([image, forest], resamples=200).iloc[0]
    more = [with_runs(one, repeated(one, 1) + repeated(one, 2)) for one in (image, forest)]
    thrice = comparisons_frame(more, resamples=200).iloc[0]
    assert (once["runs"], thrice["runs"]) == (3, 9)
    columns = ["rmse_difference", "rmse_low", "r2_high", "p", "detectable", "val_t", "val_dof", "val_p"]
    assert thrice[columns].tolist() == pytest.approx(once[columns].tolist(), rel=1e-9)


def test_seeds_are_averaged_before_folds(series: list[Series]) -> None:
    """A second seed of fold 0 alone, 10 GPa higher: it counts for half of a third, not for a quarter."""
    image, forest = of(series, "image"), of(series, "magpie-forest")
    more = [
        with_runs(one, repeated(one, 1, folds=(0,), shift=shift)) for one, shift in ((image, 10.0), (forest, 0.0))
    ]
    (pair,) = pairs(more)
    assert pair.weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3])
    row = comparisons_frame(more, resamples=200).iloc[0]
    scores = {
        (run.key.fold, run.key.seed): root_mean_squared_error(*run.part("test")[1:])
        - root_mean_squared_error(*other.part("test")[1:])
        for run, other in zip(pair.runs, pair.reference_runs, strict=True)
    }
    expected = ((scores[0, 0] + scores[0, 1]) / 2 + scores[1, 0] + scores[2, 0]) / 3
    assert row["rmse_difference"] == pytest.approx(expected, rel=EXACT)


def test_only_folds_and_seeds_that_both_have_are_compared(series: list[Series]) -> None:
    image, forest = of(series, "image"), of(series, "magpie-forest")
    (pair,) = pairs(
        [dataclasses.replace(image, runs=image.runs[1:]), dataclasses.replace(forest, runs=forest.runs[:2])]
    )
    assert pair.folds == [1]
    assert [run.key.model for run in (*pair.runs, *pair.reference_runs)] == ["image", "magpie-forest"]


def test_random_twin_is_a_reference_of_its_own_model_only(series: list[Series]) -> None:
    ours = [one for one in series if one.target == "k_vrh" and one.model in ("image", "text")]
    twin = dataclasses.replace(of(series, "image"), model="image-random")
    found = {(pair.model.model, pair.reference.model) for pair in pairs([*ours, twin])}
    assert found == {("image", "image-random")}


def with_test(series: Series, n: int) -> Series:
    """Cut its test set to n crystals."""

    def cut(run: Run) -> Run:
        test = run.predictions["part"] == "test"
        return dataclasses.replace(run, predictions=pd.concat([run.predictions[~test], run.predictions[test][:n]]))

    return dataclasses.replace(series, runs=tuple(map(cut, series.runs)))


@pytest.mark.parametrize(("n", "found"), [(5, False), (6, True)])
def test_nothing_is_detectable_where_no_swap_can_be_significant(series: list[Series], n: int, found: bool) -> None:
    """Of 2^5 swaps two are as extreme as the largest difference: p = 1/16 at least."""
    short = [with_test(of(series, name), n) for name in ("image", "magpie-forest")]
    row = comparisons_frame(short, resamples=200).iloc[0]
    assert row["p"] > 1 / 2**n
    assert np.isfinite(row["detectable"]) == found


def test_two_test_crystals_have_no_test(series: list[Series]) -> None:
    short = [with_test(of(series, name), 2) for name in ("image", "magpie-forest")]
    row = comparisons_frame(short, resamples=200).iloc[0]
    assert np.isfinite(row["rmse_difference"])
    assert np.isnan(row[["rmse_low", "p", "p_holm", "detectable"]].astype(float)).all()
    told = verdict(comparisons_frame(short, resamples=200), "k_vrh")
    assert told is not None
    assert "no difference is significant (too few for a test)" in told


def test_same_numbers_every_time(series: list[Series], frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(comparisons_frame(series, resamples=200), frame, check_exact=True)


def test_verdict_says_what_is_significant_and_what_is_not(frame: pd.DataFrame) -> None:
    told = frame[frame["target"] == "k_vrh"].assign(p_holm=1.0, val_p_holm=1.0).reset_index(drop=True)
    told.loc[told["model"] == "image", "p_holm"] = [0.01, 0.9, 0.03]
    told.loc[told["model"] == "image", "rmse_difference"] = [-5.0, -1.0, 4.0]
    told["detectable"] = np.linspace(18.0, 50.0, len(told))
    text = verdict(told, "k_vrh")
    assert text is not None
    assert text.startswith(
        "By RMSE, after Holm's correction at 5 % over 21 comparisons of 7 models with 3 references."
    )
    assert "Image network is better than Composition + random forest" in text
    assert "Image network is worse than Density quantiles + ridge" in text
    assert "Image pixels" not in text
    assert "; the other 19 differences are not significant (smallest" in text
    assert "(smallest detectable with 80 % power [GPa]: 18.0 to 50.0, by pair)." in text
    assert "Over 3 folds, retraining included: no difference is significant" in text
    assert verdict(told, "efermi") is None


def test_table_is_grouped_by_reference_and_bold_where_significant(frame: pd.DataFrame, study: Study) -> None:
    told = frame.assign(p_holm=[0.01, *[0.5] * (len(frame) - 1)], val_p_holm=[*[0.5] * (len(frame) - 1), 0.01])
    table = comparisons_table(told, "k_vrh", study=study, lineage_id="0123")
    assert table is not None
    assert [name for name, _ in table.groups] == [
        "minus Composition + random forest",
        "minus Image pixels + ridge",
        "minus Density quantiles + ridge",
    ]
    bold = [(row.cells[0], table.header[k]) for _, rows in table.groups for row in rows for k in row.bold]
    assert bold == [("Image network", "p test")]
    other = comparisons_table(told, "formation_energy_per_atom", study=study, lineage_id="0123")
    assert other is not None
    assert [other.header[k] for _, rows in other.groups for row in rows for k in row.bold] == ["p folds"]
    for words in ("n = 16 test crystals", "over the 21 comparisons", "of 3 folds", "Lineage 0123."):
        assert words in table.caption


def test_target_without_a_reference_has_no_table(small_root: Path, study: Study, code: Code, tmp_path: Path) -> None:
    shutil.rmtree(small_root / "runs/quantiles-ridge/k_vrh")
    write_tables(small_root, tmp_path, study=study, code=code)
    frame = pd.read_csv(tmp_path / "comparisons.csv")
    assert set(frame["target"]) == {"formation_energy_per_atom"}
    text = (tmp_path / "comparisons.md").read_text()
    assert "Differences from the references: formation energy" in text
    assert "bulk modulus" not in text
