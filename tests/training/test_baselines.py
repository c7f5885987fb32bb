"""Baselines: the folds, the scaling and the files of a network; the numbers that scikit-learn gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import r2_score, root_mean_squared_error
from synthetic import Crystal, crystals, write_dataset, write_stages

from rhoflow.config import Clean, Study
from rhoflow.dataset.load import View, load_view
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.training.baselines import run_baselines
from rhoflow.training.estimators import ALPHAS, BASELINES, register
from rhoflow.training.names import BASELINE_LEVELS, baseline_kinds

N, FOLDS, SEEDS = 60, 3, (0, 1)
TEXT_LEVELS = ("formula", "all")
KINDS = baseline_kinds(Study(levels=TEXT_LEVELS))
TEXTLESS = [kind for kind in KINDS if kind[1] in ("none", "density")]
RELATIVE = 1e-9


def _study(root: Path, made: list[Crystal]) -> Path:
    write_stages(root, made)
    write_dataset(root, clean=Clean(iqr_factor=None))
    return root


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = _study(tmp_path_factory.mktemp("study"), crystals(N))
    run_baselines(root, "k_vrh", series=KINDS, folds=FOLDS, seeds=SEEDS)
    return root


def _run(root: Path, name: str, level: str, fold: int = 0, seed: int = 0) -> tuple[dict, pd.DataFrame]:
    folder = root / "runs" / name / "k_vrh" / level / f"fold{fold}" / f"seed{seed}"
    return read_json(folder / "metrics.json"), pd.read_parquet(folder / "predictions.parquet")


def test_every_name_has_an_estimator() -> None:
    assert set(BASELINES) == set(BASELINE_LEVELS)


def test_every_run_is_written_and_nothing_else(study: Path) -> None:
    expected = {
        f"{name}/k_vrh/{level}/fold{fold}/seed{seed}/{file}"
        for name, level in KINDS
        for fold in range(FOLDS)
        for seed in SEEDS
        for file in ("metrics.json", "predictions.parquet", "run.prov.json")
    }
    runs = study / "runs"
    assert {path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file()} == expected


def test_ridge_on_embeddings_finds_what_is_linear_in_them() -> None:
    embeddings = np.random.default_rng(0).normal(size=(120, 64)).astype(np.float32)
    y = embeddings @ np.linspace(-1, 1, 64) + 3
    view = View(np.array([f"m{k}" for k in range(120)]), np.full(120, "train"), y, embeddings=embeddings)
    baseline = BASELINES["chgnet-ridge"]
    inputs = baseline.inputs(view)
    model = baseline.make(0).fit(inputs[:90], y[:90])
    assert r2_score(y[90:], model.predict(inputs[90:])) > 0.999
    noise = baseline.make(0).fit(inputs[:90], y[90 - 1 :: -1])
    assert r2_score(y[90:], noise.predict(inputs[90:])) < 0.5


@pytest.mark.parametrize(("name", "level"), KINDS)
def test_metrics_are_those_of_the_predictions(study: Path, name: str, level: str) -> None:
    metrics, table = _run(study, name, level, fold=1)
    assert (metrics["training"], metrics["unit"]) == (None, "GPa")
    for part in ("train", "val", "test"):
        rows = table[table["part"] == part]
        assert metrics["n"][part] == len(rows) > 0
        assert metrics["metrics"][part]["r2"] == pytest.approx(r2_score(rows["y_true"], rows["y_pred"]), rel=RELATIVE)
        rmse = root_mean_squared_error(rows["y_true"], rows["y_pred"])
        assert metrics["metrics"][part]["rmse"] == pytest.approx(rmse, rel=RELATIVE)


@pytest.mark.parametrize(("name", "level"), KINDS)
def test_parts_and_targets_are_those_of_the_view(study: Path, name: str, level: str) -> None:
    view = load_view(study, "k_vrh", level, 2)
    table = _run(study, name, level, fold=2)[1].set_index("material_id").loc[view.ids]
    assert table["part"].tolist() == view.part.tolist()
    assert table["y_true"].tolist() == view.y.tolist()


def test_mean_predicts_the_mean_of_the_training_part_alone(study: Path) -> None:
    table = _run(study, "mean", "none")[1]
    expected = table.loc[table["part"] == "train", "y_true"].mean()
    assert table["y_pred"].to_numpy() == pytest.approx(np.full(N, expected), rel=RELATIVE)


def test_scaler_is_fitted_on_the_training_part_alone(study: Path) -> None:
    metrics, table = _run(study, "quantiles-ridge", "density")
    train = table.loc[table["part"] == "train", "y_true"].to_numpy()
    assert metrics["scaler"] == pytest.approx({"mean": train.mean(), "std": train.std()}, rel=RELATIVE)


def test_pixels_ridge_equals_ridge_by_hand(study: Path) -> None:
    """Its penalty comes from the training part alone, and the target's scale drops out of the prediction."""
    view = load_view(study, "k_vrh", "none", 0)
    train = view.part == "train"
    X, y = view.images.reshape(N, -1).astype(np.float64), view.y
    z = (y - y[train].mean()) / y[train].std()
    alpha = RidgeCV(ALPHAS).fit(X[train], z[train]).alpha_
    by_hand = Ridge(alpha).fit(X[train], y[train]).predict(X)
    table = _run(study, "pixels-ridge", "none")[1].set_index("material_id").loc[view.ids]
    assert table["y_pred"].to_numpy() == pytest.approx(by_hand, rel=1e-5)  # images are float32


@pytest.mark.parametrize(
    ("name", "level"), [("quantiles-ridge", "density"), ("quantiles-boosting", "density"), ("magpie-forest", "none")]
)
def test_informative_inputs_beat_the_mean(study: Path, name: str, level: str) -> None:
    """The synthetic modulus is 4 max + 5 a step in the elements: quantiles tell the first, composition the second."""

    def rmse(name: str, level: str) -> float:
        return sum(_run(study, name, level, fold)[0]["metrics"]["val"]["rmse"] for fold in range(FOLDS)) / FOLDS

    assert rmse(name, level) < 0.9 * rmse("mean", "none")


def test_formulas_are_read_as_elements() -> None:
    """A crystal of an element seen in other compounds is predicted from it."""
    tokens = BASELINES["tfidf-ridge"].make(0)[0].build_tokenizer()
    assert tokens("Fe2VAl") == ["Fe", "2", "V", "Al"]
    assert tokens("All Ti(1)-N(1) bond lengths are 2.11 Å.") == [
        *("All", "Ti", "1", "N", "1", "bond", "lengths", "are", "2.11")
    ]


@pytest.mark.parametrize(("name", "level"), KINDS)
def test_second_run_gives_the_same_bytes(study: Path, name: str, level: str, rerun: Path) -> None:
    for file in ("metrics.json", "predictions.parquet"):
        path = f"runs/{name}/k_vrh/{level}/fold0/seed1/{file}"
        assert (rerun / path).read_bytes() == (study / path).read_bytes()


@pytest.fixture(scope="module")
def rerun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another folder, another order of rows, and one fold and seed alone."""
    root = _study(tmp_path_factory.mktemp("rerun"), crystals(N)[::-1])
    run_baselines(root, "k_vrh", series=KINDS, folds=1, seeds=(1,))
    return root


def test_seed_matters_to_the_forest_alone_of_these(study: Path) -> None:
    def predictions(name: str, level: str, seed: int) -> list[float]:
        return _run(study, name, level, seed=seed)[1]["y_pred"].tolist()

    assert predictions("magpie-forest", "none", 0) != predictions("magpie-forest", "none", 1)
    assert predictions("quantiles-ridge", "density", 0) == predictions("quantiles-ridge", "density", 1)


def test_test_materials_do_not_move_the_fit(study: Path, tmp_path: Path) -> None:
    """Other targets in the test part leave every other prediction as it was."""
    table = _run(study, "quantiles-ridge", "density")[1].set_index("material_id")
    tested = set(table.index[table["part"] == "test"])
    made = [replace(c, k_vrh=1e4 if c.material_id in tested else c.k_vrh) for c in crystals(N)]
    root = _study(tmp_path, made)
    run_baselines(root, "k_vrh", series=TEXTLESS, folds=1, seeds=(0,))
    for name, level in TEXTLESS:
        before, after = (_run(where, name, level)[1]["y_pred"].tolist() for where in (study, root))
        assert after == before


def test_constant_target_stops_with_the_reason(tmp_path: Path) -> None:
    root = _study(tmp_path, [replace(crystal, k_vrh=7.0) for crystal in crystals(30)])
    with pytest.raises(StudyError, match="the target is 7 for all"):
        run_baselines(root, "k_vrh", series=TEXTLESS, folds=1, seeds=(0,))


def test_name_registered_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'mean' is registered twice"):
        register("mean", BASELINES["mean"].inputs)(BASELINES["mean"].make)


@pytest.fixture(scope="module")
def variants(study: Path) -> Path:
    """Learning curves and a control beside the plain baselines."""
    series = [("magpie-forest-f50", "none"), ("pixels-ridge-shuffled-image", "none"), ("mean-f25", "none")]
    run_baselines(study, "k_vrh", series=series, folds=1, seeds=SEEDS)
    return study


def test_learning_curve_takes_a_share_of_the_training_part_and_all_of_the_others(variants: Path) -> None:
    whole, less = (_run(variants, name, "none")[0]["n"] for name in ("magpie-forest", "magpie-forest-f50"))
    assert less == whole | {"train": round(whole["train"] / 2)}


def test_scaler_and_mean_are_those_of_the_share(variants: Path) -> None:
    metrics, table = _run(variants, "mean-f25", "none")
    train = table.loc[table["part"] == "train", "y_true"].to_numpy()
    assert metrics["scaler"] == pytest.approx({"mean": train.mean(), "std": train.std()}, rel=RELATIVE)
    assert table["y_pred"].to_numpy() == pytest.approx(np.full(len(table), train.mean()), rel=RELATIVE)
    assert train.mean() != pytest.approx(_run(variants, "mean", "none")[0]["scaler"]["mean"], rel=1e-6)


def test_control_has_the_targets_of_its_base_and_other_predictions(variants: Path) -> None:
    plain, control = (_run(variants, name, "none") for name in ("pixels-ridge", "pixels-ridge-shuffled-image"))
    columns = ["material_id", "part", "y_true"]
    assert control[1][columns].equals(plain[1][columns])
    assert control[1]["y_pred"].tolist() != plain[1]["y_pred"].tolist()


def test_control_is_dealt_out_by_seed(variants: Path) -> None:
    one, other = (_run(variants, "pixels-ridge-shuffled-image", "none", seed=seed)[1] for seed in SEEDS)
    assert one["y_pred"].tolist() != other["y_pred"].tolist()
