"""Which plane and which window."""

from __future__ import annotations

import numpy as np
import pytest
from slice_crystals import Square, change_cell, crystal, gaussian_density, random_rotation

from rhoflow.density.cells import standard_cell
from rhoflow.density.planes import find_normals, find_plane, window_side
from rhoflow.density.spectra import low_pass
from rhoflow.errors import Reason, RejectedMaterialError


def millers(name: str, hkl: object) -> set[tuple[float, ...]]:
    """Candidate planes in conventional indices, absolute values sorted, each divided by its smallest non-zero one."""
    cell = standard_cell(crystal(name))
    conventional = np.abs(np.round(find_normals(cell, hkl) @ np.linalg.inv(cell.centring), 6))  # type: ignore[arg-type]
    return {tuple(sorted(row / row[row > 0].min())) for row in conventional}


@pytest.mark.parametrize(
    ("name", "densest", "n_planes"),
    [
        ("Al", (1, 1, 1), 8),
        ("bcc", (0, 1, 1), 12),
        ("sc", (0, 0, 1), 6),
        ("diamond", (0, 1, 1), 12),
        ("NaCl", (0, 0, 1), 6),
    ],
)
def test_densest_plane_of_textbook_lattices(name: str, densest: tuple[int, ...], n_planes: int) -> None:
    assert millers(name, "densest") == {densest}
    assert len(find_normals(standard_cell(crystal(name)), "densest")) == n_planes


def test_densest_plane_of_hcp_is_basal() -> None:
    cell = standard_cell(crystal("hcp"))
    assert {tuple(abs(normal)) for normal in find_normals(cell, "densest")} == {(0, 0, 1)}


@pytest.mark.parametrize(("hkl", "n_planes"), [((1, 1, 1), 8), ((1, 0, 0), 6), ((2, 2, 0), 12), ((1, 2, 3), 48)])
def test_all_equivalent_planes_are_candidates(hkl: tuple[int, int, int], n_planes: int) -> None:
    normals = find_normals(standard_cell(crystal("Al")), hkl)
    assert len(np.unique(normals, axis=0)) == len(normals) == n_planes
    assert millers("Al", hkl) == {tuple(sorted(np.array(hkl) / min(h for h in hkl if h)))}


@pytest.mark.parametrize(("cells", "factor"), [(8, 3.5863), (2, 0.89658)])
def test_window_in_cells_is_the_square_in_the_hexagon(cells: int, factor: float) -> None:
    cell = standard_cell(change_cell(crystal("NaCl"), rotation=random_rotation(4)))
    side = window_side(cell, find_normals(cell, (1, 1, 1)), Square(cells=cells))
    assert side == pytest.approx(factor * 5.65, rel=1e-4)
    # largest square in a regular hexagon, found by trying: its corners, at all angles, inside the six edges
    hexagon = cells * 5.65 / np.sqrt(2) / 2
    normals = np.array([[np.cos(t), np.sin(t)] for t in np.pi / 6 + np.arange(6) * np.pi / 3])
    apothem = hexagon * np.sqrt(3) / 2
    best = 0.0
    for angle in np.linspace(0, np.pi / 2, 1801):
        corner = np.array([np.cos(angle), np.sin(angle)])
        corners = np.array([corner, corner[::-1] * [-1, 1], -corner, corner[::-1] * [1, -1]])
        best = max(best, np.sqrt(2) * apothem / float((corners @ normals.T).max()))
    assert side == pytest.approx(best, rel=1e-5)


def test_window_in_angstrom_is_taken_as_given() -> None:
    cell = standard_cell(crystal("hcp"))
    assert window_side(cell, find_normals(cell, (0, 0, 1)), Square(angstrom=7.5)) == 7.5


@pytest.mark.parametrize(
    ("name", "hkl"), [("bcc", (1, 1, 1)), ("hcp", (0, 0, 1)), ("Al", (1, 0, 0)), ("diamond", "densest")]
)
def test_window_in_cells_needs_the_fcc_111_plane(name: str, hkl: object) -> None:
    cell = standard_cell(crystal(name))
    normals = find_normals(cell, hkl)  # type: ignore[arg-type]
    with pytest.raises(RejectedMaterialError, match=r"slices\.window\.cells.*angstrom: 20") as caught:
        window_side(cell, normals, Square(cells=8))
    assert caught.value.reason is Reason.NO_PLANE


def test_absent_element_is_a_rejection_that_names_those_present() -> None:
    structure = crystal("NaCl")
    cell = standard_cell(structure)
    spectrum = low_pass(gaussian_density(structure, 4.0), cell, g_cut=4.0)
    with pytest.raises(RejectedMaterialError, match=r"'Xe'.*Cl, Na") as caught:
        find_plane(cell, spectrum, normals=find_normals(cell, (1, 1, 1)), through="Xe")
    assert caught.value.reason is Reason.NO_PLANE


@pytest.mark.parametrize("height", [0.3, -1.2])
def test_a_height_is_counted_from_the_heaviest_site_along_the_normal(height: float) -> None:
    structure = change_cell(crystal("ZnS"), shift=(0.2, 0.1, 0.4))
    cell = standard_cell(structure)
    spectrum = low_pass(gaussian_density(structure, 4.0), cell, g_cut=4.0)
    plane = find_plane(cell, spectrum, normals=find_normals(cell, (1, 1, 1)), through=height)
    zinc = cell.frac_coords[cell.numbers == 30]
    rise = (plane.centres - zinc) @ cell.primitive @ plane.orientation.axes.T
    assert rise == pytest.approx(np.array([[0, 0, height * 5.41 / np.sqrt(3)]]), abs=1e-9)
    assert np.cross(*plane.orientation.axes[:2]) == pytest.approx(plane.orientation.axes[2])
