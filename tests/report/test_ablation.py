from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from rhoflow.config import Study
from rhoflow.report.ablation import (
    ablation_frame,
    ablation_pairs,
    ablation_table,
    compared_rows,
    fourier_frame,
    fourier_table,
)
from rhoflow.report.plots_results import ablation_figure
from rhoflow.report.runs import Series
from rhoflow.report.significance import holm
from rhoflow.report.verdicts import verdict

EXACT = 1e-9


@pytest.fixture(scope="module")
def series(grid_series: list[Series]) -> list[Series]:
    return grid_series


@pytest.fixture(scope="module")
def frame(series: list[Series], grid_study: Study) -> pd.DataFrame:
    return ablation_frame(series, study=grid_study)


def predictions(root: Path, kind: str, fold: int, part: str) -> pd.DataFrame:
    table = pd.read_parquet(root / f"runs/{kind}/fold{fold}/seed0/predictions.parquet")
    return table[table["part"] == part].set_index("material_id").sort_index()


def row_of(frame: pd.DataFrame, model: str, variant: str) -> pd.Series:
    (place,) = frame.index[(frame["model"] == model) & (frame["variant"] == variant)]
    return frame.loc[place]


def test_every_change_stands_beside_its_own_series(series: list[Series]) -> None:
    kinds = {(pair.model.model, pair.model.level, pair.reference.model) for pair in ablation_pairs(series, "k_vrh")}
    image = {(f"image-{name}", "none", "image") for name in ("random", "shuffled-image", "fourier", "spin")}
    clip = {(f"clip-{name}", "formula", "clip") for name in ("random", "shuffled-image", "fourier", "spin")}
    ridge = {(f"pixels-ridge-{name}", "none", "pixels-ridge") for name in ("shuffled-image", "fourier", "spin")}
    levels = {("clip", level, "clip") for level in ("keywords", "all")}
    assert kinds == image | clip | ridge | levels
    assert ablation_pairs(series, "formation_energy_per_atom") == []


def test_row_is_that_of_the_prediction_files(grid_root: Path, frame: pd.DataFrame) -> None:
    row = row_of(frame, "image", "shuffled-image")
    differences = []
    for fold in range(3):
        ours, own = (
            predictions(grid_root, f"{name}/k_vrh/none", fold, "test") for name in ("image-shuffled-image", "image")
        )
        differences.append(
            root_mean_squared_error(ours["y_true"], ours["y_pred"])
            - root_mean_squared_error(own["y_true"], own["y_pred"])
        )
    assert row["rmse_difference"] == pytest.approx(np.mean(differences), rel=EXACT)
    errors = [predictions(grid_root, "image-shuffled-image/k_vrh/none", fold, "val") for fold in range(3)]
    mae = [mean_absolute_error(one["y_true"], one["y_pred"]) for one in errors]
    assert row["val_mae_mean"] == pytest.approx(np.mean(mae), rel=EXACT)
    assert row["factor"] == "shuffled images"
    assert row["rmse_low"] < row["rmse_difference"] < row["rmse_high"]


def test_missing_image_is_missing_from_both(grid_root: Path, frame: pd.DataFrame) -> None:
    row = row_of(frame, "image", "spin")
    whole = len(predictions(grid_root, "image/k_vrh/none", 0, "test"))
    assert row["n"] == whole - 1
    assert row["n_groups"] == whole - 1


def test_settings_say_what_differs(frame: pd.DataFrame) -> None:
    assert row_of(frame, "image", "")[["field", "plane", "window", "planes"]].tolist() == [
        "total",
        "(1 1 1)",
        "8 cells",
        1,
    ]
    spin = row_of(frame, "image", "spin")
    assert (spin["factor"], spin["field"], spin["planes"]) == ("field, planes", "spin", 3)
    assert row_of(frame, "pixels-ridge", "fourier")["factor"] == "content"
    clip = frame[(frame["model"] == "clip") & (frame["level"] == "all")].iloc[0]
    assert (clip["factor"], clip["reference_level"]) == ("level", "formula")


def test_holm_goes_over_all_changes_of_a_target(frame: pd.DataFrame) -> None:
    rows = frame[frame["reference"].notna()]
    assert len(rows) == 13
    assert set(rows["comparisons"]) == {13}
    assert rows["p_holm"].to_numpy() == pytest.approx(holm(rows["p"]))


def test_table_has_a_group_a_model_and_bold_where_significant(frame: pd.DataFrame, grid_study: Study) -> None:
    told = frame.assign(p_holm=np.where(frame["variant"] == "random", 0.01, 0.5), val_p_holm=0.5)
    told.loc[told["reference"].isna(), "p_holm"] = np.nan
    table = ablation_table(told, "k_vrh", study=grid_study, lineage_id="0123")
    assert table is not None
    assert [name for name, _ in table.groups] == ["Image network", "CLIP", "Image pixels + ridge"]
    bold = [(row.cells[0], table.header[k]) for _, rows in table.groups for row in rows for k in row.bold]
    assert bold == [("random weights", "p test")] * 2
    assert table.groups[0][1][0].cells[0] == "as in the study"
    assert "over 13 comparisons" in table.caption
    assert ablation_table(told, "efermi", study=grid_study, lineage_id="0123") is None


def test_fourier_table_is_images_against_magnitudes_and_the_baselines(
    frame: pd.DataFrame, series: list[Series], grid_study: Study
) -> None:
    rows = fourier_frame(frame, series, study=grid_study)
    assert rows[["model", "level", "variant"]].to_numpy().tolist() == [
        *(["image", "none", ""], ["image", "none", "fourier"]),
        *(["clip", "formula", ""], ["clip", "formula", "fourier"]),
        *(["pixels-ridge", "none", ""], ["pixels-ridge", "none", "fourier"]),
        *(["mean", "none", ""], ["magpie-forest", "none", ""]),
        *(["quantiles-ridge", "density", ""], ["quantiles-boosting", "density", ""], ["tfidf-ridge", "formula", ""]),
    ]
    assert compared_rows(rows)["model"].tolist() == ["image-fourier", "clip-fourier", "pixels-ridge-fourier"]
    table = fourier_table(rows, "k_vrh", study=grid_study, lineage_id="0123")
    assert table is not None
    assert table.title == "Images against their Fourier magnitudes: bulk modulus"
    assert dict(table.groups)["Composition + random forest"][0].cells[2:6] == ("–",) * 4
    assert "Holm's correction over 13 comparisons" in table.caption  # of the whole family


def test_sentence_names_the_changed_series(frame: pd.DataFrame) -> None:
    rows = compared_rows(frame)
    worse = rows["model"] == "image-shuffled-image"
    told = rows.assign(p_holm=np.where(worse, 0.001, 1.0), val_p_holm=1.0)
    told.loc[worse, "rmse_difference"] = 12.0
    said = verdict(told, "k_vrh")
    assert said is not None
    assert "Image network, shuffled images is worse than Image network" in said
    assert said.startswith(
        "By RMSE, after Holm's correction at 5 % over 13 comparisons of 13 models with 3 references."
    )


def test_bars_are_the_differences_of_the_table(frame: pd.DataFrame) -> None:
    axes = ablation_figure(frame, "k_vrh").axes[0]
    rows = frame[frame["reference"].notna()]
    np.testing.assert_allclose([patch.get_width() for patch in axes.patches], rows["rmse_difference"])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert "Image network: shuffled images" in names
    assert "CLIP (all)" in names
    assert axes.get_xlabel() == "change of the RMSE [GPa]"
    assert ablation_figure(frame.iloc[:0], "k_vrh").axes[0].texts[0].get_text().startswith("no finished run")
