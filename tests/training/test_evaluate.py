import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as oracle

from rhoflow.training.evaluate import RunKey, Stopwatch, score, write_provenance, write_run
from rhoflow.training.scaler import Scaler

KEY = RunKey("image", "k_vrh", "none", 1, 0)
SAME = 1e-10
values = arrays(np.float64, 7, elements=st.floats(-1e3, 1e3, allow_subnormal=False))


@given(y=values.filter(lambda y: np.ptp(y) > 1e-3), p=values)
def test_scores_agree_with_scikit_learn(y, p):
    got = score(y, p)
    assert got["r2"] == pytest.approx(oracle.r2_score(y, p), rel=SAME, abs=SAME)
    assert got["rmse"] == pytest.approx(oracle.root_mean_squared_error(y, p), rel=SAME, abs=SAME)
    assert got["mae"] == pytest.approx(oracle.mean_absolute_error(y, p), rel=SAME, abs=SAME)


def test_score_by_hand():
    assert score(np.array([0.0, 4.0]), np.array([1.0, 1.0])) == {"r2": 1 - 10 / 8, "rmse": 5**0.5, "mae": 2.0}


def test_r2_of_a_constant_truth_is_null_and_errors_are_not():
    got = score(np.full(3, 0.1), np.array([0.1, 0.2, 0.3]))
    assert got["r2"] is None
    assert got["mae"] == pytest.approx(0.1)


def test_scores_of_nothing_are_null():
    assert score(np.array([]), np.array([])) == {"r2": None, "rmse": None, "mae": None}


def test_a_diverged_fit_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"1 of 2 predictions are not finite.*lower training.\*.learning_rate"):
        score(np.zeros(2), np.array([0.0, np.nan]))


def _write(folder):
    ids, part = np.array(["c", "a", "b", "d"]), np.array(["train", "train", "val", "test"])
    y, p = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.0, 2.0, 4.0])
    return write_run(
        folder,
        key=KEY,
        unit="GPa",
        ids=ids,
        part=part,
        y_true=y,
        y_pred=p,
        scaler=Scaler(1.5, 0.5),
        training=None,
    )


def test_metrics_have_the_documented_layout(tmp_path):
    returned = _write(tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == returned
    assert written == {
        "model": "image",
        "target": "k_vrh",
        "level": "none",
        "fold": 1,
        "seed": 0,
        "unit": "GPa",
        "n": {"train": 2, "val": 1, "test": 1},
        "metrics": {
            "train": {"r2": 0.5, "rmse": 0.125**0.5, "mae": 0.25},
            "val": {"r2": None, "rmse": 1.0, "mae": 1.0},
            "test": {"r2": None, "rmse": 0.0, "mae": 0.0},
        },
        "scaler": {"mean": 1.5, "std": 0.5},
        "training": None,
    }


def test_files_do_not_depend_on_the_order_of_the_materials(tmp_path):
    random = np.random.default_rng(0)
    y, p = random.normal(size=(2, 50))
    for name, order in {"one": np.arange(50), "two": random.permutation(50)}.items():
        write_run(
            tmp_path / name,
            key=KEY,
            unit="GPa",
            ids=np.array([f"m{i:02d}" for i in order]),
            part=np.array(["train", "val"])[order % 2],
            y_true=y[order],
            y_pred=p[order],
            scaler=Scaler(0.0, 1.0),
            training=None,
        )
    for name in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_predictions_are_sorted_by_part_and_id(tmp_path):
    _write(tmp_path)
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    assert table["material_id"].tolist() == ["d", "a", "c", "b"]
    assert table["part"].tolist() == ["test", "train", "train", "val"]
    assert table["y_pred"].tolist() == [4.0, 2.0, 1.5, 2.0]


def test_seeds_differ_by_purpose_and_run_but_not_by_process():
    assert KEY.random_seed("init") != KEY.random_seed("shuffle", 1)
    assert KEY.random_seed("init") != RunKey("image", "k_vrh", "none", 0, 0).random_seed("init")
    code = (
        "from rhoflow.training.evaluate import RunKey;"
        "print(RunKey('image', 'k_vrh', 'none', 1, 0).random_seed('init'))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == KEY.random_seed("init")


def test_evaluation_needs_no_torch():
    code = "import sys, rhoflow.training.evaluate; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_provenance_names_machine_and_versions(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"stage\n")
    write_provenance(tmp_path, Stopwatch.start(), gpu=None)
    found = json.loads((tmp_path / "run.prov.json").read_text())
    assert set(found) == {"host", "cpu", "cpu_count", "gpu", "python", "packages", "started", "seconds", "sha256"}
    assert found["sha256"] == {"history.csv": hashlib.sha256(b"stage\n").hexdigest()}
    assert found["packages"]["numpy"] == np.__version__
    assert 0 <= found["seconds"] < 60
