"""Which plane, which window: (hkl) of the conventional standard cell, the sites on it, the side of the square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pymatgen.core import Element

from rhoflow.density.cells import Floats, Ints, StandardCell
from rhoflow.density.frames import Orientation, choose, orientations
from rhoflow.density.spectra import Spectrum
from rhoflow.errors import Reason, RejectedMaterialError

Miller = tuple[int, int, int] | Literal["densest"]

_SAME_PLANE = 0.05  # [A] sites this close in height lie on one plane
_SAME_DENSITY = 1e-4


class Window(Protocol):
    """The square to cut out: exactly one of the two is set."""

    @property
    def cells(self) -> int | None:
        """Supercell whose hexagonal (111) section holds the square."""

    @property
    def angstrom(self) -> float | None:
        """Side [A]."""


@dataclass(frozen=True)
class Plane:
    """A lattice plane with the points that become the centre of the image.

    Attributes
    ----------
    orientation : Orientation
        In-plane lattice and axes.
    centres : (n, 3) float64 array
        Fractional coordinates in the primitive cell; the image is the mean over these centres.
    """

    orientation: Orientation
    centres: Floats

    def lifted(self, cell: StandardCell, spacings: float) -> Plane:
        """Give the parallel plane that many lattice plane spacings further along the normal."""
        spacing = cell.volume / _area(self.orientation, cell)
        rise = spacings * spacing * self.orientation.axes[2] @ np.linalg.inv(cell.primitive)
        return Plane(self.orientation, self.centres + rise)


def find_normals(cell: StandardCell, hkl: Miller) -> Ints:
    """Find the normals of all planes that the lattice holds equivalent to (hkl).

    Parameters
    ----------
    hkl : tuple of 3 int, or "densest"
        Miller indices in the conventional standard cell, or the plane with most sites per area.

    Returns
    -------
    (n, 3) int64 array
        Coprime reciprocal indices in the primitive cell's basis, both signs of each.
    """
    if hkl == "densest":
        return _densest_normals(cell)
    family = np.unique(np.array(hkl) @ cell.holohedry, axis=0)
    # times 6: whole numbers in every centring (halves and thirds)
    primitive = np.round(6 * family @ cell.centring).astype(np.int64)
    return np.asarray(primitive // np.gcd.reduce(primitive, axis=1)[:, None])


def window_side(cell: StandardCell, normals: Ints, window: Window) -> float:
    """Side of the square window [A].

    ``cells: n`` is the largest square inscribed in the hexagonal (111) section of an n x n x n supercell of the
    primitive FCC cell. The hexagon's side is n a / (2 sqrt 2), half a face diagonal; the square in it has
    (3 - sqrt 3) times that: 3.59 a for the n = 8 of Massa et al. 2024.

    Raises
    ------
    RejectedMaterialError
        NO_PLANE, if ``cells`` is asked for without an FCC lattice or on another plane than (111).
    """
    if window.angstrom is not None:
        return window.angstrom
    assert window.cells is not None
    a = float(np.linalg.norm(cell.lattice[0]))
    is_111 = bool(np.allclose(np.linalg.norm(normals @ cell.reciprocal, axis=1) * a / (2 * np.pi), np.sqrt(3)))
    if not (cell.is_fcc and is_111):
        found = "a plane other than (111)" if cell.is_fcc else f"space group {cell.number}, {cell.letter}-centred"
        raise RejectedMaterialError(
            Reason.NO_PLANE,
            f"slices.window.cells needs the (111) plane of a face-centred cubic lattice, this is {found};"
            " set slices.window to {cells: null, angstrom: 20} or the like",
        )
    return float((3 - np.sqrt(3)) * window.cells / 2 * a / np.sqrt(2))


def find_plane(cell: StandardCell, spectrum: Spectrum, *, normals: Ints, through: str | float) -> Plane:
    """Find the plane, its axes and the centre of its image: the same for every cell that describes the crystal.

    Parameters
    ----------
    spectrum : Spectrum
        The density, which breaks ties that the structure leaves.
    normals : (n, 3) int64 array
        Candidate normals (`find_normals`).
    through : str or float
        ``heaviest``: the site of the heaviest element. An element symbol: a site of it. ``mean``: the mean over the
        planes through each site of the primitive cell, all with the axes found for the heaviest. A number: through
        the point that many plane spacings above the heaviest site, along the normal.

    Raises
    ------
    RejectedMaterialError
        NO_PLANE, if the crystal has no such element.
    """
    candidates = [view for normal in normals for view in orientations(cell, normal)]
    element = through if isinstance(through, str) and through != "mean" else "heaviest"
    site, orientation = choose(cell, _sites_of(cell, element), candidates, spectrum)
    if through == "mean":
        return Plane(orientation, cell.frac_coords)
    plane = Plane(orientation, cell.frac_coords[site][None])
    return plane if isinstance(through, str) else plane.lifted(cell, through)


def _sites_of(cell: StandardCell, element: str) -> Ints:
    """Select the sites of an element, or of the heaviest one."""
    present = {Element.from_Z(int(number)) for number in cell.numbers}
    if element == "heaviest":
        wanted = max(present, key=lambda candidate: candidate.atomic_mass)
    else:
        found = [candidate for candidate in present if candidate.symbol == element]
        if not found:
            symbols = ", ".join(sorted(candidate.symbol for candidate in present))
            detail = f"slices.through = {element!r}: the crystal holds only {symbols}; use one of them or `heaviest`"
            raise RejectedMaterialError(Reason.NO_PLANE, detail)
        wanted = found[0]
    return np.flatnonzero(cell.numbers == wanted.Z)


def _area(orientation: Orientation, cell: StandardCell) -> float:
    """Area of the primitive cell of the in-plane lattice [A^2]."""
    edges = np.stack([orientation.along, orientation.across]) @ cell.primitive
    return float(np.linalg.norm(np.cross(edges[0], edges[1])))


def _densest_normals(cell: StandardCell) -> Ints:
    """Find the normals of the planes with most sites per area; of equals, those with the largest spacing.

    A family of planes with spacing d has n d / V sites per area, n of the cell's N sites being on one plane. Since
    n <= N, spacings below (best so far) V / N cannot win: shells of growing indices are searched until then.
    """
    best, spacing_of_best, normals, radius = 0.0, 0.0, np.empty((0, 3), dtype=np.int64), 0.0
    step = float(np.linalg.norm(cell.reciprocal, axis=1).max())
    while best == 0 or 2 * np.pi / radius * len(cell.numbers) > best * cell.volume:
        shell = _coprime_shell(cell, radius, radius + step)
        radius += step
        spacing = 2 * np.pi / np.linalg.norm(shell @ cell.reciprocal, axis=1)
        density = _most_on_one_plane(cell, shell, spacing) * spacing / cell.volume
        for normal, d, rho in zip(shell, spacing, density, strict=True):
            ahead = (rho > best * (1 + _SAME_DENSITY), d > spacing_of_best * (1 + _SAME_DENSITY))
            ties = (rho > best * (1 - _SAME_DENSITY), d > spacing_of_best * (1 - _SAME_DENSITY))
            if ahead[0] or (ties[0] and ahead[1]):
                best, spacing_of_best, normals = rho, d, normal[None]
            elif all(ties):
                normals = np.concatenate([normals, normal[None]])
    return normals


def _coprime_shell(cell: StandardCell, low: float, high: float) -> Ints:
    """Coprime reciprocal indices with low < abs(G) <= high [1/A]."""
    limits = np.floor(high * np.linalg.norm(cell.primitive, axis=1) / (2 * np.pi)).astype(int)
    ranges = [np.arange(-limit, limit + 1) for limit in limits]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(indices @ cell.reciprocal, axis=1)
    chosen = (lengths > low) & (lengths <= high) & (np.gcd.reduce(indices, axis=1) == 1)
    return np.asarray(indices[chosen])


def _most_on_one_plane(cell: StandardCell, normals: Ints, spacing: Floats) -> Ints:
    """Largest number of sites at one height (mod spacing), for each normal."""
    heights = cell.frac_coords @ normals.T  # (site, normal)
    apart = heights[:, None] - heights[None]
    apart = np.abs(apart - np.round(apart)) * spacing
    return np.asarray((apart < _SAME_PLANE).sum(axis=1).max(axis=0))
