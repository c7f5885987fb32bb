from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rhoflow.config import Study, load_study
from rhoflow.report.crystals import Picture, read_crystals
from rhoflow.report.entries import learning_entry
from rhoflow.report.figures import read_index, write_figures
from rhoflow.report.names import figure_names
from rhoflow.report.plots import distribution_figure, learning_figure, overview_figure, parity_figure, slices_figure
from rhoflow.report.plots_input import n_elements
from rhoflow.report.plots_results import residuals_figure
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, read_series


@pytest.fixture(scope="module")
def one_target() -> Study:
    return load_study({"study": "made-up", "targets": ["k_vrh"], "report": {"bootstrap": 200, "examples": 2}})


@pytest.fixture(scope="module")
def figures(whole_small_root: Path, one_target: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    write_figures(whole_small_root, out, study=one_target)
    return out


def test_every_figure_is_there_with_caption_and_alt(figures: Path, one_target: Study) -> None:
    names = figure_names(one_target)
    assert names == [
        *("overview", "parity_k_vrh", "residuals_k_vrh", "learning_k_vrh", "distribution_k_vrh"),
        *("creation", "slices", "heights", "elements"),
    ]
    files = {file.name for file in figures.iterdir()}
    assert files == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")} | {"figures.json"}
    entries = read_index(figures)
    assert [entry.name for entry in entries] == names
    assert all(entry.caption.endswith(".") and entry.alt.endswith(".") for entry in entries)


def test_targets_without_a_change_have_no_figure_of_one(grid_study: Study) -> None:
    names = figure_names(grid_study)
    assert {"curves_k_vrh", "ablation_k_vrh", "residuals_formation_energy_per_atom"} <= set(names)
    assert not {f"{kind}_formation_energy_per_atom" for kind in ("curves", "ablation")} & set(names)


def test_captions_carry_n_and_unit(figures: Path) -> None:
    captions = {entry.kind: entry.caption for entry in read_index(figures)}
    assert "5 test crystals" in captions["parity"]
    assert "[GPa]" in captions["parity"]
    assert "test set (5 crystals)" in captions["overview"]
    assert "Bulk modulus [GPa] of 38 crystals" in captions["distribution"]
    assert "2 crystals on the (111) plane, 96 × 96 pixels" in captions["slices"]


def test_equal_results_give_equal_bytes(
    whole_small_root: Path, figures: Path, one_target: Study, tmp_path: Path
) -> None:
    write_figures(whole_small_root, tmp_path / "again", study=one_target)
    for file in figures.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_files_hold_no_date_and_no_software(figures: Path) -> None:
    for file in figures.glob("*.svg"):
        assert not re.search(r"<dc:date>|<dc:creator>|matplotlib\.org", file.read_text())
    for file in figures.glob("*.png"):
        with Image.open(file) as image:
            assert not {"Software", "Creation Time"} & set(image.info)
            assert 150 <= image.info["dpi"][0] <= 200


def test_nothing_at_all_still_draws(tmp_path: Path, one_target: Study) -> None:
    write_figures(tmp_path, tmp_path / "figures", study=one_target)
    assert [entry.name for entry in read_index(tmp_path / "figures")] == figure_names(one_target)


@pytest.mark.parametrize("draw", [parity_figure, residuals_figure])
def test_a_target_without_test_crystals_has_an_empty_panel(
    untested: list[Series], draw: Callable[..., Figure]
) -> None:
    (axes,) = draw([one for one in untested if one.target == "k_vrh"], {}).axes
    assert [text.get_text() for text in axes.texts] == ["no test crystal"]


def test_lost_runs_and_histories_still_draw(small_root: Path, one_target: Study) -> None:
    shutil.rmtree(small_root / "runs/quantiles-ridge")
    for file in small_root.rglob("history.csv"):
        file.unlink()
    write_figures(small_root, small_root / "figures", study=one_target)
    assert (
        "Image network, the network with the lowest validation RMSE." in read_index(small_root / "figures")[1].caption
    )


def test_parity_points_are_the_mean_over_runs(root: Path, study: Study) -> None:
    series = [one for one in read_series(root, study) if one.target == "k_vrh"][:1]
    axes = parity_figure(series, {}).axes[0]
    _, y_true, y_pred = series[0].common_test()
    points = axes.containers[0].lines[0]
    np.testing.assert_allclose(points.get_xdata(), y_true)
    np.testing.assert_allclose(points.get_ydata(), y_pred.mean(axis=0))
    (bars,) = axes.containers[0].lines[2]
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, 2 * y_pred.std(axis=0, ddof=1))
    assert axes.get_xlabel() == "DFT bulk modulus [GPa]"


def test_residuals_are_predicted_minus_calculated_by_number_of_elements(root: Path, study: Study) -> None:
    series = [one for one in read_series(root, study) if one.target == "k_vrh"][:1]
    crystals = read_crystals(root)
    formulas = dict(zip(crystals["material_id"], crystals["formula"], strict=True))
    axes = residuals_figure(series, formulas).axes[0]
    ids, y_true, y_pred = series[0].common_test()
    errors = y_pred.mean(axis=0) - y_true
    found = np.concatenate([points.get_offsets()[:, 1] for points in axes.collections])
    np.testing.assert_allclose(np.sort(found), np.sort(errors))
    for points, place in zip(axes.collections, axes.get_xticks(), strict=True):
        expected = [error for error, one in zip(errors, ids, strict=True) if n_elements(formulas[one]) == place]
        np.testing.assert_allclose(points.get_offsets()[:, 1], expected)
    assert axes.get_ylabel() == "predicted − DFT [GPa]"


def test_grid_draws_curves_and_changes_with_captions(
    grid_root: Path, grid: dict[str, object], tmp_path: Path
) -> None:
    study = load_study({**grid, "targets": ["k_vrh"]})
    write_figures(grid_root, tmp_path, study=study)
    captions = {entry.name: entry.caption for entry in read_index(tmp_path)}
    assert list(captions) == figure_names(study)
    assert "(50 and 100 % of the training part" in captions["curves_k_vrh"]
    assert "Change of the test RMSE [GPa]" in captions["ablation_k_vrh"]


def test_overview_dots_are_the_means_of_the_table(root: Path, study: Study) -> None:
    frame = results_frame(read_series(root, study), resamples=100)
    figure = overview_figure(frame, study.targets)
    shown = frame.query("part == 'test' and target == 'k_vrh'")["r2_mean"]
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() in ("o", "D")]
    np.testing.assert_allclose(dots, shown[shown >= -1])


def test_overview_shows_means_without_an_interval_and_points_at_those_far_below() -> None:
    rows = {"part": "test", "target": "k_vrh", "group": "network", "model": "image", "level": "none"}
    frame = pd.DataFrame([rows] * 3).assign(r2_mean=[-0.5, -3.0, np.nan], r2_low=np.nan, r2_high=np.nan)
    lines = overview_figure(frame, ["k_vrh"]).axes[0].lines
    assert [(line.get_marker(), line.get_xdata()[0]) for line in lines[:-1]] == [("o", -0.5), ("<", -1.0)]


def test_learning_curve_is_the_history(root: Path, study: Study) -> None:
    series = [one for one in read_series(root, study) if (one.target, one.model) == ("k_vrh", "image")]
    axes = learning_figure(series).axes
    assert [one.get_xlabel() for one in axes] == ["readout", "finetune"]
    history = series[0].runs[0].history
    assert history is not None
    curves = {line.get_label(): line for line in axes[0].lines}
    expected = history.query("stage == 'readout'")["val_rmse"]
    np.testing.assert_allclose(curves["fold 0"].get_ydata(), expected)
    assert len([line for line in axes[1].lines if line.get_marker() == "o"]) == 2  # fold 1 improved nothing


def test_learning_curve_in_two_parts_has_no_training_error(root: Path, study: Study) -> None:
    """The loss of two parts is a cross entropy and a squared error: no RMSE comes of it."""
    series = [one for one in read_series(root, study) if (one.target, one.model) == ("k_vrh", "image")]
    styles = [
        [line.get_linestyle() for line in learning_figure(series, two_part=two_part).axes[0].lines]
        for two_part in (False, True)
    ]
    assert (styles[0].count("--"), styles[1].count("--")) == (3, 0)
    assert styles[1].count("-") == styles[0].count("-")
    assert "dotted training" in learning_entry("k_vrh").caption
    assert "training (with" not in learning_entry("k_vrh", two_part=True).caption


def test_distribution_counts_every_crystal_once(root: Path) -> None:
    crystals = read_crystals(root)
    above, below = distribution_figure(crystals, "k_vrh").axes
    heights = {patch.get_x(): patch.get_y() + patch.get_height() for patch in above.patches}
    assert sum(heights.values()) == len(crystals)  # the second, stacked histogram ends at the total
    assert sum(len(points.get_offsets()) for points in below.collections) == len(crystals)


def test_many_prototypes_are_gathered(root: Path) -> None:
    crystals = read_crystals(root)
    crystals["prototype"] = [f"kind {k % 20:02d}" for k in range(len(crystals))]
    below = distribution_figure(crystals, "k_vrh").axes[1]
    names = [label.get_text() for label in below.get_yticklabels()]
    counts = [int(re.findall(r"\((\d+)\)", name)[0]) for name in names]
    assert len(names) == 12
    assert names[-1].startswith("others")
    assert sum(counts) == len(crystals)


def test_slices_share_one_colour_scale() -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.uniform(-0.1 * k, 1, (8, 8)).astype(np.float32) for k, name in enumerate("abc", start=1)}
    figure = slices_figure({name: Picture(image, 20.0, 5.0) for name, image in images.items()}, {"a": "$x_1$, fcc"})
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert len({(one.norm.vmin, one.norm.vmax) for one in shown}) == 1
    assert shown[0].norm.vmin == pytest.approx(min(image.min() for image in images.values()))
    assert figure.axes[0].get_title(loc="left") == "$x_1$, fcc"
