"""Candidate frames on a plane."""

from __future__ import annotations

import numpy as np
import pytest
from slice_crystals import crystal

from rhoflow.density.cells import standard_cell
from rhoflow.density.frames import orientations
from rhoflow.density.planes import find_normals


@pytest.mark.parametrize("hkl", [(1, 1, 1), (1, 0, 0), (0, 0, 1), (1, -2, 3), (2, 1, 0)])
@pytest.mark.parametrize("name", ["Al", "hcp", "Al2O3", "TiO2", "triclinic"])
def test_frames_are_right_handed_and_span_the_whole_plane(name: str, hkl: tuple[int, int, int]) -> None:
    cell = standard_cell(crystal(name))
    for normal in find_normals(cell, hkl):
        wave_vector = normal @ cell.reciprocal
        area = cell.volume * np.linalg.norm(wave_vector) / (2 * np.pi)  # of the in-plane primitive cell
        for view in orientations(cell, normal):
            assert view.axes @ view.axes.T == pytest.approx(np.eye(3), abs=1e-12)
            assert np.linalg.det(view.axes) == pytest.approx(1)
            assert view.axes[2] @ wave_vector == pytest.approx(np.linalg.norm(wave_vector))
            assert normal @ view.along == normal @ view.across == 0
            assert view.along @ cell.primitive @ view.axes[1] == pytest.approx(0, abs=1e-9)
            edges = np.stack([view.along, view.across]) @ cell.primitive
            assert np.linalg.norm(np.cross(*edges)) == pytest.approx(area, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "hkl", "n_frames"),
    [("Al", (1, 1, 1), 6), ("Al", (1, 0, 0), 4), ("Al", (1, 1, 0), 2), ("hcp", (0, 0, 1), 6)],
)
def test_every_shortest_vector_of_the_plane_is_a_candidate(
    name: str, hkl: tuple[int, int, int], n_frames: int
) -> None:
    cell = standard_cell(crystal(name))
    for normal in find_normals(cell, hkl):
        assert len(list(orientations(cell, normal))) == n_frames
