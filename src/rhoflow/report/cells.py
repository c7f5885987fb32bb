"""One crystal as the figures show it: its conventional cell, and densities on planes of it, from the raw archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from pymatgen.core import Element

from rhoflow.config import Study, Window
from rhoflow.dataset.stores import store_path
from rhoflow.density.cells import StandardCell, standard_cell
from rhoflow.density.fields import select_field
from rhoflow.density.slices import slice_image
from rhoflow.errors import RejectedMaterialError
from rhoflow.materials.archive import Record, read_record
from rhoflow.report.crystals import kept_shards

Floats = NDArray[np.float64]
HEIGHTS = (0.0, 0.125, 0.25, 0.375)  # of the conventional cell's third vector, above the heaviest atom
_WIDE = 1.6  # side of the larger slice, in sides of the image's square
_EDGE = 1e-6


@dataclass(frozen=True)
class Cell:
    """The conventional standard cell of a crystal.

    Attributes
    ----------
    lattice : (3, 3) float64 array
        Lattice vectors as rows [A].
    cart_coords : (n, 3) float64 array
        Atoms in the cell, those on its faces on all of them [A].
    symbols : tuple of n str
        Their elements.
    """

    lattice: Floats
    cart_coords: Floats
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Creation:
    """From a crystal to its image.

    Attributes
    ----------
    cell : Cell
    faces : tuple of ((3, 3), (p, p)) float64 arrays
        Of each pair of lattice vectors: corner and the two edges as rows [A], and the density there [e/A^3], rows
        along the second edge; the face at the origin, then the one across, for three pairs.
    wide : (p, p) float64 array
        Density on the plane of the image, in a larger square around it [e/A^3].
    wide_side, side : float
        Sides of that square and of the image's [A].
    """

    cell: Cell
    faces: tuple[tuple[Floats, Floats], ...]
    wide: Floats
    wide_side: float
    side: float


@dataclass(frozen=True)
class Stack:
    """Densities on planes at several heights.

    Attributes
    ----------
    side : float
        Side of the squares [A].
    spacing : float
        Length of the conventional cell's third vector [A], of which `HEIGHTS` are fractions.
    fields : dict of str to (k, p, p) float64 array
        Densities [e/A^3] by field, lowest plane first.
    missing : dict of str to str
        Why a field cannot be shown.
    """

    side: float
    spacing: float
    fields: dict[str, Floats]
    missing: dict[str, str]


def read_crystal(root: Path, material_id: str) -> Record | None:
    """Read a kept crystal from the raw archive; None where that is not there."""
    for shard, ids in kept_shards(root).items():
        file = store_path(root, "raw", shard)
        if material_id in ids and file.exists():
            return read_record(file, material_id)
    return None


def conventional_cell(cell: StandardCell) -> Cell:
    """Atoms of the conventional standard cell, those on its faces repeated on all of them."""
    shifts = np.array(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij")).reshape(3, -1).T
    points = (cell.frac_coords[:, None] + shifts[None]) @ cell.primitive
    frac = points @ np.linalg.inv(cell.lattice)
    inside = ((frac > -_EDGE) & (frac < 1 + _EDGE)).all(axis=-1)
    sites = np.broadcast_to(np.arange(len(cell.numbers))[:, None], inside.shape)[inside]
    symbols = tuple(Element.from_Z(int(cell.numbers[site])).symbol for site in sites)
    return Cell(cell.lattice, points[inside], symbols)


def sample(rho: Floats, cell: StandardCell, points: Floats) -> Floats:
    """Density [e/A^3] at Cartesian points (..., 3) [A] in the frame of `StandardCell.lattice`, by cubic splines.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Density on the file's grid [e/A^3].
    """
    frac = points @ np.linalg.inv(cell.primitive) @ np.linalg.inv(cell.multiples)
    return np.asarray(
        scipy.ndimage.map_coordinates(rho, np.moveaxis(frac * rho.shape, -1, 0), order=3, mode="grid-wrap")
    )


def make_creation(record: Record, study: Study, *, side: float, pixels: int = 96) -> Creation:
    """Densities on the faces of the conventional cell, and on the plane of the image around its square.

    Parameters
    ----------
    side : float
        Of the image's square [A].
    """
    rho = select_field(record, study.field, study.deformation.smoothing)
    cell = standard_cell(record.structure)
    wide = slice_image(
        rho,
        record.structure,
        hkl=study.slices.plane,
        through=study.slices.through,
        window=Window(cells=None, angstrom=_WIDE * side),
        pixels=2 * pixels,
    )
    faces = []
    for first, second, third in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        for corner in (np.zeros(3), cell.lattice[third]):
            edges = np.array([corner, cell.lattice[first], cell.lattice[second]])
            u = (np.arange(pixels) + 0.5) / pixels
            points = edges[0] + u[None, :, None] * edges[1] + u[:, None, None] * edges[2]
            faces.append((edges, sample(rho, cell, points)))
    return Creation(conventional_cell(cell), tuple(faces), wide.image, wide.side, side)


def make_stack(record: Record, study: Study, *, pixels: int = 96) -> Stack:
    """Total density and the study's field, or the deformation where that is the total, on planes along z.

    The planes hold the first two vectors of the conventional cell, are centred above the heaviest atom, and are two
    lattice constants wide.
    """
    cell = standard_cell(record.structure)
    side = 2 * float(np.linalg.norm(cell.lattice[0]))
    points = _plane_points(cell, side, pixels)
    fields: dict[str, Floats] = {}
    missing: dict[str, str] = {}
    for name in stack_fields(study.field):
        try:
            rho = select_field(record, name, study.deformation.smoothing)
        except RejectedMaterialError as error:
            missing[name] = str(error.reason.value)
            continue
        planes = [sample(rho, cell, points + height * cell.lattice[2]) for height in HEIGHTS]
        fields[name] = np.stack(planes)
    return Stack(side, float(np.linalg.norm(cell.lattice[2])), fields, missing)


def stack_fields(field: str) -> tuple[str, str]:
    """Fields of the figure: the total one and the study's, or the deformation."""
    return ("total", "deformation" if field == "total" else field)


def _plane_points(cell: StandardCell, side: float, pixels: int) -> Floats:
    """Points (p, p, 3) [A] of a square around the heaviest atom; rows along -y, columns along +x."""
    masses = [float(Element.from_Z(int(number)).atomic_mass) for number in cell.numbers]
    centre = cell.frac_coords[int(np.argmax(masses))] @ cell.primitive
    x = cell.lattice[0] / np.linalg.norm(cell.lattice[0])
    y = cell.lattice[1] - (cell.lattice[1] @ x) * x
    y /= np.linalg.norm(y)
    offsets = (np.arange(pixels) - (pixels - 1) / 2) * side / pixels
    return np.asarray(centre + offsets[None, :, None] * x - offsets[:, None, None] * y)


def bonds(cell: Cell) -> Sequence[tuple[int, int]]:
    """Pairs of atoms that are no further apart than the nearest ones, within 5 %."""
    apart = np.linalg.norm(cell.cart_coords[:, None] - cell.cart_coords[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    pairs = np.argwhere(np.triu(apart < 1.05 * apart.min()))
    return [(int(i), int(j)) for i, j in pairs]
