import pandas as pd
import pytest

from rhoflow.materials.digests import write_json
from rhoflow.training.search.table import write_table

TRIALS = [
    {"values": {"dropout": 0.2}, "rmse": 31.5, "inner_folds": 3},
    {"values": {"dropout": 0.1}, "rmse": None, "inner_folds": 1},
    {"values": {"dropout": 0.4}, "rmse": 30.25, "inner_folds": 3},
]


def _found(**changes):
    found = {
        "model": "text", "target": "k_vrh", "level": "formula", "fold": 0, "seed": 0, "unit": "GPa", "n": 80,
        "inner_folds": 3, "values": {"head_learning_rate": 3.25e-4, "batch_size": 9, "dropout": 0.4},
        "rmse": 30.25, "own_rmse": 31.5, "trials": TRIALS,
    }  # fmt: skip
    return found | changes


@pytest.fixture
def tables(tmp_path):
    write_json(tmp_path / "b.json", _found())
    write_json(tmp_path / "a.json", _found(fold=1, values={"dropout": 0.4, "unfreeze_blocks": 3}, own_rmse=None))
    write_table([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "tables", lineage_id="0123456789ab")
    return tmp_path / "tables"


def test_table_has_counts_values_and_scores(tables):
    frame = pd.read_csv(tables / "search.csv")
    assert list(frame["fold"]) == [0, 1]
    first = frame.iloc[0]
    assert (first["trials"], first["given_up"], first["inner_folds"], first["n"]) == (3, 1, 3, 80)
    assert (first["rmse"], first["own_rmse"], first["dropout"], first["head_learning_rate"]) == (
        30.25,
        31.5,
        0.4,
        3.25e-4,
    )
    assert pd.isna(frame["unfreeze_blocks"][0])
    assert frame["unfreeze_blocks"][1] == 3


def test_markdown_has_a_dash_where_nothing_was_searched(tables):
    lines = (tables / "search.md").read_text().splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    second = dict(zip(header, (cell.strip() for cell in lines[3].strip("|").split("|")), strict=True))
    assert (second["fold"], second["own rmse"], second["batch size"], second["unfreeze blocks"]) == (
        "1",
        "–",
        "–",
        "3",
    )
    assert lines[-1].endswith("Outer validation and test materials took no part. Lineage 0123456789ab.")


def test_last_column_is_the_lineage(tables):
    assert pd.read_csv(tables / "search.csv").iloc[:, -1].tolist() == ["0123456789ab"] * 2
    assert pd.read_csv(tables / "search.csv").columns[-1] == "lineage"
