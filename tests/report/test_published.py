from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rhoflow.config import Study, load_study
from rhoflow.properties import PROPERTIES
from rhoflow.report.published import (
    COLUMNS,
    PUBLISHED,
    other_fusion,
    published_frame,
    published_rows,
    published_table,
    read_published,
)
from rhoflow.report.results import results_frame
from rhoflow.report.runs import read_series


@pytest.fixture(scope="module")
def results(root: Path, study: Study) -> pd.DataFrame:
    return results_frame(read_series(root, study), resamples=100)


@pytest.fixture(scope="module")
def frame(results: pd.DataFrame) -> pd.DataFrame:
    return published_frame(results)


def made_up(target: str, model: str, level: str) -> pd.DataFrame:
    row = {"target": target, "unit": PROPERTIES[target].unit, "model": model, "level": level, "part": "test"}
    return pd.DataFrame([row | {"n": 88, "runs": 5, "r2_mean": 0.5, "r2_sd": 0.1, "rmse_mean": 9.0, "rmse_sd": 1.0}])


@pytest.mark.parametrize(
    ("target", "model", "level", "r2", "rmse"),
    [
        ("k_vrh", "fusion", "formula", 0.87, 25.3),
        ("efermi", "fusion", "formula", 0.88, 0.86),
        ("formation_energy_per_atom", "text", "keywords", 0.84, 0.19),
        ("k_vrh", "clip", "all", 0.83, 32.1),
        ("formation_energy_per_atom", "clip", "all", 0.76, 0.31),
        ("efermi", "clip", "all", 0.73, 1.41),
    ],
)
def test_figures_that_the_paper_calls_its_best(target: str, model: str, level: str, r2: float, rmse: float) -> None:
    frame = published_frame(made_up(target, model, level))
    (row,) = frame[frame["model"] == model].to_dict("records")
    assert row["published_r2"] == r2
    assert row["published_rmse"] == pytest.approx(rmse, abs=0.06)  # the figure prints one digit more
    assert row["r2_mean"] == 0.5


def test_image_stands_beside_all_three_of_its_rows(frame: pd.DataFrame) -> None:
    rows = frame[(frame["model"] == "image") & (frame["target"] == "k_vrh")]
    assert rows["row"].tolist() == ["Formula Image", "Keywords Image", "All Image"]
    assert rows["table"].tolist() == ["Fig. 2c"] * 3
    assert rows["published_rmse"].tolist()[:2] == [28.09, 28.09]


def test_every_network_row_has_both_figures_and_no_baseline_has(frame: pd.DataFrame, results: pd.DataFrame) -> None:
    frame = frame[frame["model"] != "llm"]
    assert set(frame["model"]) == {"image", "text", "fusion"}
    assert len(frame) == 2 * (3 + 3 + 3)
    assert frame[["published_r2", "published_rmse"]].notna().all(axis=None)
    ours = results[results["part"] == "test"].set_index(["target", "model", "level"])["r2_mean"]
    assert [ours[key] for key in frame.set_index(["target", "model", "level"]).index] == frame["r2_mean"].tolist()


@pytest.mark.parametrize(
    ("target", "model", "level"),
    [
        ("g_vrh", "fusion", "all"),
        ("k_vrh", "magpie-forest", "none"),
        ("k_vrh", "clip", "formula"),
        ("k_vrh", "llm", "all"),
    ],
)
def test_what_was_not_published_has_no_row(target: str, model: str, level: str) -> None:
    frame = published_frame(made_up(target, model, level))
    assert (model, level) not in (set(zip(frame["model"], frame["level"], strict=True)) if len(frame) else set())


@pytest.mark.parametrize(("model", "ours"), [("llm", 0.5), ("fusion", None)])
def test_language_model_of_v1_stands_beside_ours_or_alone(model: str, ours: float | None) -> None:
    """Table 7 is printed whether or not the study asks a language model; its error is no number of GPa."""
    frame = published_frame(made_up("k_vrh", model, "formula"))
    (row,) = frame[frame["model"] == "llm"].to_dict("records")
    assert (row["table"], row["published_r2"], row["published_rmse_scaled"]) == ("Table 7", -41.66, 0.16)
    assert np.isnan(row["published_rmse"])
    assert row["r2_mean"] == ours if ours else np.isnan(row["r2_mean"])
    table = published_table(frame, "k_vrh", lineage_id="0")
    assert table is not None
    cells = table.groups[0][1][-1].cells
    assert cells[2:4] == ("Table 7, GPT-4, 5 in-context samples", "88" if ours else "–")
    assert cells[5:8] == ("−41.66", "9.00 ± 1.00" if ours else "–", "0.16, scaled")
    assert "Table 7: Massa, Papanikolaou, Sankowski 2024 (arXiv 2401.09301v1)" in table.caption


def test_language_model_of_v1_was_asked_for_the_bulk_modulus_alone() -> None:
    assert "llm" not in set(published_frame(made_up("efermi", "fusion", "formula"))["model"])


def test_units_are_those_of_the_house() -> None:
    numbers = read_published().query("study == 'multimodal' and metric == 'RMSE'")
    for target, column in COLUMNS.items():
        assert set(numbers.loc[numbers["column"] == column, "unit"]) == {PROPERTIES[target].unit}


def test_rows_that_are_looked_up_are_there() -> None:
    numbers = read_published()
    there = set(zip(numbers["table"].str.rstrip("abcd"), numbers["row"], strict=True))
    wanted = [
        published_rows(model, level) for model in ("image", "text", "fusion", "clip") for level in ("none", "all")
    ]
    assert {row for rows in wanted for row in rows} <= there


def test_doubtful_figure_is_named(frame: pd.DataFrame) -> None:
    table = published_table(frame, "formation_energy_per_atom", lineage_id="0123")
    assert table is not None
    assert "With a doubt, see the notes in published.csv: Fig. 2a, Formula Image." in table.caption
    assert "Lineage 0123." in table.caption
    other = published_table(frame, "k_vrh", lineage_id="0123")
    assert other is not None
    assert "Fig." not in other.caption.partition("With a doubt")[2]
    assert other.groups[0][1][0].cells[:4] == ("Image network", "–", "Fig. 2c, Formula Image", "16")
    assert published_table(frame, "efermi", lineage_id="0123") is None


def test_another_fusion_network_is_said_to_be_one() -> None:
    scalar = load_study({"fusion": {"kind": "scalar"}})
    assert other_fusion(scalar, "scalar") == ""
    assert "joins the last hidden layers of the image and text" in other_fusion(scalar, "penultimate")
    assert "ours the image network's prediction" in other_fusion(scalar, "penultimate")
    assert "joins the image network's prediction" in other_fusion(load_study({}), "scalar")


def test_reference_table_is_the_one_that_was_collected(shared_data: Path) -> None:
    assert PUBLISHED.read_bytes() == (shared_data.parent / "published.csv").read_bytes()
