from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rhoflow.config import Study, load_study
from rhoflow.report.headline import chosen, compare, sentence
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, read_series
from rhoflow.training.evaluate import RunKey, write_run
from rhoflow.training.scaler import Scaler

N = 40


def write_series(root: Path, model: str, level: str, *, val_error: float, test_error: float, n: int = N) -> None:
    rng = np.random.default_rng(sum(map(ord, model + level)))
    y_true = np.random.default_rng(7).normal(100, 40, 3 * n)
    part = np.repeat(np.array(["train", "val", "test"]), n)
    error = np.repeat([1.0, val_error, test_error], n) * rng.normal(size=3 * n)
    for fold in range(3):
        key = RunKey(model, "k_vrh", level, fold, 0)
        write_run(
            key.folder(root),
            key=key,
            unit="GPa",
            ids=np.array([f"c{k:03d}" for k in range(3 * n)]),
            part=part,
            y_true=y_true,
            y_pred=y_true + error,
            scaler=Scaler.fit(y_true[:n]),
            training={"weights": {}, "stages": []} if model == "image" else None,
        )


def told(root: Path, study: Study) -> str:
    series = read_series(root, study)
    return sentence(results_frame(series, resamples=300), series, "k_vrh", resamples=300)


def by_kind(series: list[Series]) -> dict[tuple[str, str], Series]:
    return {(one.model, one.level): one for one in series}


def test_the_test_set_has_no_say_in_the_choice(tmp_path: Path, study: Study) -> None:
    write_series(tmp_path, "tfidf-ridge", "formula", val_error=5, test_error=30)
    write_series(tmp_path, "tfidf-ridge", "all", val_error=10, test_error=1)
    series = read_series(tmp_path, study)
    best = chosen(results_frame(series, resamples=100), series, "k_vrh", "baseline")
    assert best is by_kind(series)["tfidf-ridge", "formula"]


def test_a_small_difference_is_not_called_one(tmp_path: Path, study: Study) -> None:
    write_series(tmp_path, "image", "none", val_error=10, test_error=10)
    write_series(tmp_path, "mean", "none", val_error=10, test_error=10)
    text = told(tmp_path, study)
    assert text.startswith(f"Bulk modulus, on {N} test crystals: ")
    assert f"includes zero: {N} crystals are too few to call a difference" in text


def test_a_large_difference_is_told_without_a_claim(tmp_path: Path, study: Study) -> None:
    write_series(tmp_path, "image", "none", val_error=2, test_error=2)
    write_series(tmp_path, "mean", "none", val_error=50, test_error=50)
    text = told(tmp_path, study)
    assert "leaves out zero" in text
    assert "neither is called better" in text
    assert "significan" not in text


def test_too_few_crystals_have_no_interval(tmp_path: Path, study: Study) -> None:
    write_series(tmp_path, "image", "none", val_error=2, test_error=2, n=2)
    write_series(tmp_path, "mean", "none", val_error=50, test_error=50, n=2)
    assert "2 crystals are too few even for an interval" in told(tmp_path, study)


@pytest.mark.parametrize(
    ("model", "kind", "other"), [("image", "network", "baseline"), ("mean", "baseline", "network")]
)
def test_one_side_alone_is_told_alone(tmp_path: Path, study: Study, model: str, kind: str, other: str) -> None:
    write_series(tmp_path, model, "none", val_error=10, test_error=10)
    text = told(tmp_path, study)
    assert f"the best {kind} by validation" in text
    assert f"No {other} has run" in text


def test_difference_is_taken_on_the_common_crystals(tmp_path: Path, study: Study) -> None:
    write_series(tmp_path, "image", "none", val_error=2, test_error=2, n=N)
    write_series(tmp_path, "mean", "none", val_error=50, test_error=50, n=N)
    found = by_kind(read_series(tmp_path, study))
    network = found["image", "none"]
    for run in network.runs:
        lost = run.predictions.index[run.predictions["part"] == "test"][:5]
        run.predictions.drop(index=lost, inplace=True)  # noqa: PD002  (the run is frozen)
    pair = compare(network, found["mean", "none"], resamples=200)
    assert pair.n == N - 5
    assert pair.difference.low > 0


def test_difference_is_told_of_groups_where_the_splits_have_them(tmp_path: Path) -> None:
    study = load_study({"study": "made-up", "targets": ["k_vrh"], "splits": {"strategy": "composition"}})
    write_series(tmp_path, "image", "none", val_error=10, test_error=10)
    write_series(tmp_path, "mean", "none", val_error=10, test_error=10)
    ids = [f"c{k:03d}" for k in range(3 * N)]
    kept = pd.DataFrame({"material_id": ids, "formula": [f"A{k % 5}" for k in range(3 * N)]})
    (tmp_path / "dataset").mkdir()
    kept.to_csv(tmp_path / "dataset" / "kept.csv", index=False)
    text = told(tmp_path, study)
    assert text.startswith(f"Bulk modulus, on {N} test crystals in 5 groups: ")
    assert f"{N} crystals in 5 groups are too few" in text
