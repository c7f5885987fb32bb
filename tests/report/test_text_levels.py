from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.runs import Series, main_series
from rhoflow.report.text_levels import levels_frame, levels_pairs, levels_table

EXACT = 1e-9


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return main_series(grid_series)


@pytest.fixture(scope="module")
def frame(series: list[Series]) -> pd.DataFrame:
    return levels_frame(series)


def test_scaled_error_is_over_the_range_of_the_training_targets(grid_root: Path, frame: pd.DataFrame) -> None:
    row = frame.set_index(["target", "model", "level", "part"]).loc["k_vrh", "fusion", "all", "test"]
    shares = []
    for fold in range(3):
        table = pd.read_parquet(grid_root / f"runs/fusion/k_vrh/all/fold{fold}/seed0/predictions.parquet")
        train, test = (table[table["part"] == part] for part in ("train", "test"))
        error = root_mean_squared_error(test["y_true"], test["y_pred"])
        shares.append(error / (train["y_true"].max() - train["y_true"].min()))
    assert row["rmse_scaled_mean"] == pytest.approx(np.mean(shares), rel=EXACT)
    assert row["rmse_scaled_sd"] == pytest.approx(np.std(shares, ddof=1), rel=EXACT)


def test_columns_are_single_key_all_by_tr_te_h(frame: pd.DataFrame, grid_study: Study) -> None:
    table = levels_table(frame, study=grid_study, lineage_id="0123")
    assert table is not None
    assert table.header[1:] == tuple(
        f"{text} {part}" for text in ("Single", "Key", "All") for part in ("Tr", "Te", "H")
    )
    assert [name for name, _ in table.groups] == ["Bulk modulus [GPa]", "Formation energy [eV/atom]"]
    rows = {row.cells[0]: row.cells[1:] for row in table.groups[0][1]}
    assert list(rows)[:4] == ["n", "RMSE", "RMSE, scaled", "R²"]
    r2 = rows["Published, Table 6 (RoBERTa): R²"]
    assert r2 == ("0.96", "0.86", "0.88", "0.92", "0.92", "0.91", "0.93", "0.88", "0.91")
    assert rows["Published, Table 12 (ALBERT): R²"][6:] == ("0.94", "0.85", "0.87")  # Most
    assert rows["Composition + random forest: R²"][0:3] == rows["Composition + random forest: R²"][3:6]
    assert "Lineage 0123." in table.caption


def test_no_fusion_no_table(series: list[Series], grid_study: Study) -> None:
    assert (
        levels_table(levels_frame([one for one in series if one.model != "fusion"]), study=grid_study, lineage_id="0")
        is None
    )


def test_longer_texts_are_compared_with_the_shortest(series: list[Series]) -> None:
    found = levels_pairs(series, "k_vrh")
    assert [(pair.model.level, pair.reference.level) for pair in found] == [
        ("keywords", "formula"),
        ("all", "formula"),
    ]
    assert levels_pairs([one for one in series if one.model == "image"], "k_vrh") == []
