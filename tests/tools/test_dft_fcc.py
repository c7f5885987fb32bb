"""Cell, k-point meshes and density grids; the shipped files are the witnesses."""

import json
import lzma

import numpy as np
import pytest

from tools.dft.fcc import (
    DIAGONAL,
    PRIMITIVE,
    RECIPROCAL,
    density_grid_size,
    frac_coords,
    monkhorst_size,
    primitive_volume,
)
from tools.dft.settings import Settings


def test_reciprocal_vectors_are_dual():
    np.testing.assert_allclose(PRIMITIVE @ RECIPROCAL.T, np.eye(3))


def test_primitive_volume_is_a_quarter_of_the_cube():
    assert primitive_volume(4.0) == pytest.approx(np.linalg.det(PRIMITIVE * 4.0))


def test_sites_lie_on_the_cube_diagonal():
    cart = frac_coords(["A", "B", "C", "D"]) @ PRIMITIVE
    np.testing.assert_allclose(cart, np.repeat(np.array(DIAGONAL)[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("edges", "k_length", "expected"),
    [
        ((2.8, 2.8, 2.8), 28.0, (10, 10, 10)),
        ((2.79, 2.79, 2.79), 28.0, (12, 12, 12)),
        ((3.0, 6.0, 40.0), 28.0, (10, 6, 2)),
    ],
    ids=["exact", "above", "axes"],
)
def test_meshes_are_even_and_dense_enough(edges, k_length, expected):
    assert monkhorst_size(edges, k_length) == expected


def test_mesh_of_every_shipped_crystal(demo, shipped_rows):
    wrong = {}
    for name, row in shipped_rows.items():
        edge = float(row["lattice_constant_A"]) / 2**0.5
        size = monkhorst_size([edge] * 3, Settings().k_lengths(int(row["nsites"]))[1])
        method = json.loads((demo / name / "dos.json").read_text())["method"]
        if "{}x{}x{} mesh".format(*size) not in method:
            wrong[name] = (size, method)
    assert wrong == {}


def test_grid_of_every_shipped_crystal(demo, shipped_rows):
    wrong = {}
    for name, row in shipped_rows.items():
        n = density_grid_size(float(row["lattice_constant_A"]), Settings().grid_spacing)
        with lzma.open(demo / name / "CHGCAR.xz", "rt") as file:
            lines = [next(file).split() for _ in range(10 + int(row["nsites"]))]
        if lines[-1] != [str(n)] * 3:
            wrong[name] = (n, lines[-1])
    assert wrong == {}
