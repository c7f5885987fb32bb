from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from pymatgen.core import Lattice, Structure

from rhoflow.config import Study, load_study
from rhoflow.density.cells import standard_cell
from rhoflow.materials.archive import ArchiveWriter, Record, read_record
from rhoflow.report import cells
from rhoflow.report.crystals import Picture
from rhoflow.report.plots_input import (
    creation_figure,
    elements_figure,
    elements_name,
    heights_figure,
    n_elements,
)

SPLINES = 2e-3  # of the wave's amplitude, at 12 points a period
A = 5.6
TEXT = {"formula": "NaCl", "keywords": "NaCl. Bonds.", "all": "NaCl is Halite. " * 60}


def salt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(A), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def waves(structure: Structure, shape: tuple[int, int, int]) -> np.ndarray:
    """3 + cos(4 pi x / a) + cos(4 pi y / a) + cos(4 pi z / a) on the grid of a cell, high on the atoms."""
    frac = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    return field(frac @ structure.lattice.matrix)


def field(points: np.ndarray) -> np.ndarray:
    return 3 + np.cos(4 * np.pi * points / A).sum(axis=-1)


@pytest.fixture(params=["conventional", "primitive"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    structure = salt() if request.param == "conventional" else salt().get_primitive_structure()
    shape = (24, 24, 24)
    with ArchiveWriter(tmp_path / "0000.h5") as archive:
        archive.add("NaCl_rocksalt", structure, {"total": waves(structure, shape)}, electrons=8.0)
    return read_record(tmp_path / "0000.h5", "NaCl_rocksalt")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study({"slices": {"pixels": 32}})


def test_conventional_cell_has_the_atoms_on_its_faces_too(record: Record) -> None:
    cell = cells.conventional_cell(standard_cell(record.structure))
    counts = pd.Series(cell.symbols).value_counts()
    # Corners and face centres of one element, edges and the centre of the other.
    assert sorted(counts) == [13, 14]
    assert np.linalg.norm(cell.lattice, axis=1) == pytest.approx([A] * 3, rel=1e-6)
    assert len(np.unique(cell.cart_coords.round(6), axis=0)) == 27
    lengths = [np.linalg.norm(cell.cart_coords[i] - cell.cart_coords[j]) for i, j in cells.bonds(cell)]
    assert lengths == pytest.approx([A / 2] * 54, rel=1e-6)


def test_faces_show_the_density_at_their_places(record: Record, study: Study) -> None:
    creation = cells.make_creation(record, study, side=10.0, pixels=8)
    cell = standard_cell(record.structure)
    assert len(creation.faces) == 6
    u = (np.arange(8) + 0.5) / 8
    for edges, rho in creation.faces:
        points = edges[0] + u[None, :, None] * edges[1] + u[:, None, None] * edges[2]
        exact = field(points - _origin(cell))
        np.testing.assert_allclose(rho, exact, atol=3 * SPLINES)
    assert creation.wide_side == pytest.approx(16.0)
    assert creation.wide.shape == (16, 16)


def _origin(cell: object) -> np.ndarray:
    """Somewhere the field is highest: an atom."""
    return cell.frac_coords[0] @ cell.primitive  # type: ignore[attr-defined]


def test_planes_are_at_their_heights(record: Record, study: Study) -> None:
    stack = cells.make_stack(record, study, pixels=16)
    assert stack.side == pytest.approx(2 * A, rel=1e-6)
    assert stack.spacing == pytest.approx(A, rel=1e-6)
    offsets = (np.arange(16) - 7.5) * stack.side / 16
    for height, plane in zip(cells.HEIGHTS, stack.fields["total"], strict=True):
        x, y = np.meshgrid(offsets, -offsets)
        exact = field(np.stack([x, y, np.full_like(x, height * A)], axis=-1))
        np.testing.assert_allclose(plane, exact, atol=3 * SPLINES)


def test_field_that_a_crystal_lacks_is_said(record: Record) -> None:
    spin = load_study({"field": "spin"})
    stack = cells.make_stack(record, spin)
    assert list(stack.fields) == ["total"]
    assert stack.missing == {"spin": "field not in file"}
    figure = heights_figure(stack, {"total": "total", "spin": "spin density"})
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said == ["spin density: field not in file"]
    assert sum(len(axes.images) for axes in figure.axes) >= len(cells.HEIGHTS)


def test_total_stands_beside_the_deformation_or_the_studys_own() -> None:
    assert cells.stack_fields("total") == ("total", "deformation")
    assert cells.stack_fields("spin") == ("total", "spin")


def test_heights_share_one_colour_scale_a_row(record: Record, study: Study) -> None:
    stack = cells.make_stack(record, study, pixels=8)
    figure = heights_figure(stack, {"total": "valence electron density"})
    shown = [axes.images[0] for axes in figure.axes if axes.images][: len(cells.HEIGHTS)]
    assert len({(one.norm.vmin, one.norm.vmax) for one in shown}) == 1
    titles = [axes.get_title() for axes in figure.axes][: len(cells.HEIGHTS)]
    assert titles == [f"z = {height * A:.2f} Å" for height in cells.HEIGHTS]


def test_creation_shows_cell_density_slice_image_and_texts(record: Record, study: Study) -> None:
    creation = cells.make_creation(record, study, side=10.0, pixels=8)
    picture = Picture(np.linspace(-0.2, 1, 64, dtype=np.float32).reshape(8, 8), 10.0, A)
    figure = creation_figure(creation, picture, TEXT, field="total", facts=["NaCl, rocksalt", "bulk modulus 24 GPa"])
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels)[:5] == ["a  crystal", "b  density", "c  slice", "d  image", "e  texts"]
    atoms = [line for line in panels["a  crystal"].lines if line.get_marker() == "o"]
    assert len(atoms) == 27
    assert len(panels["b  density"].images) == 3
    (square,) = [patch for patch in panels["c  slice"].patches if isinstance(patch, Rectangle)]
    assert square.get_width() == pytest.approx(10.0)
    assert panels["d  image"].images[0].get_array().shape == (8, 8)
    lines = panels["e  texts"].texts[0].get_text().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["formula", "keywords", "all"]
    assert lines[-1].endswith("…")
    assert len(lines) == 6


def test_nothing_to_show_is_said() -> None:
    assert (
        creation_figure(None, None, None, field="total", facts=[])
        .axes[0]
        .texts[0]
        .get_text()
        .startswith("no crystal")
    )
    figure = heights_figure(None, {"total": "total"})
    assert figure.axes[0].texts[0].get_text() == "total: no crystal with an archive"


@pytest.mark.parametrize(("formula", "n"), [("Al", 1), ("CaF2", 2), ("Co2MnSi", 3), ("C60", 1), ("CO", 2), ("Co", 1)])
def test_elements_are_counted_once(formula: str, n: int) -> None:
    assert n_elements(formula) == n


def test_histogram_colours_every_crystal_by_its_elements() -> None:
    crystals = pd.DataFrame(
        {"formula": ["Al", "Cu", "NaCl", "LiF", "MgO", "AlCoCrFeNiTi"], "k_vrh": [76, 137, 24, 70, 160, np.nan]}
    )
    figure = elements_figure(crystals, ["k_vrh", "band_gap"])
    assert [axes.get_xlabel() for axes in figure.axes] == ["bulk modulus [GPa]"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "1 element (n = 2)",
        "2 elements (n = 3)",
        "5 or more elements (n = 1)",
    ]
    tops = {}
    for patch in figure.axes[0].patches:
        tops[patch.get_x()] = max(tops.get(patch.get_x(), 0), patch.get_y() + patch.get_height())
    assert sum(tops.values()) == 5
    assert elements_name(7) == "5 or more elements"
