r"""The image of a crystal: its density on a lattice plane.

A periodic field on a lattice plane is periodic in the in-plane lattice. With rho(r) = sum_G F(G) exp(i G . r) and
r = r0 + x e_x + y e_y its two-dimensional Fourier coefficients are sums over all G with the same in-plane part g:

    rho(x, y) = sum_g c(g) exp(i (g_x x + g_y y)),        c(g) = sum_{G: G_parallel = g} F(G) exp(i G . r0).

With in-plane lattice vectors u1 = (L, 0), u2 = (s, t) and the whole numbers p = G.u1 / 2 pi, q = G.u2 / 2 pi

    g_x = 2 pi p / L,        g_y = 2 pi (q - p s / L) / t,

so the double sum is two thin matrix products with a phase between them. Nothing is interpolated, no
supercell is made.

Three planes are `HEIGHTS` of the lattice plane spacing d apart, the middle one through the site. A lattice
translation takes a plane to the one d above it, with the same image shifted in the plane; so d is the period along
the normal, and the three sample it evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from pymatgen.core import Structure

from rhoflow.density.cells import Floats, StandardCell, standard_cell
from rhoflow.density.planes import Miller, Plane, Window, find_normals, find_plane, window_side
from rhoflow.density.regrid import regrid
from rhoflow.density.spectra import Complexes, Spectrum, low_pass

# Heights of the planes, by their number, in units of the lattice plane spacing, along the normal.
HEIGHTS = {1: (0.0,), 3: (-1 / 3, 0.0, 1 / 3)}


@dataclass(frozen=True)
class Slice:
    """A crystal's density on a plane, or on three.

    Attributes
    ----------
    image : (p, p) or (3, p, p) float64 array
        Density [e/A^3]. Columns run along +x, rows along -y, as seen from the tip of the normal; the centre of the
        square (between the middle pixels when p is even) is the site that the plane passes through.
    side : float
        Side of the square, pixel border to pixel border [A].
    lattice_constant : float
        a of the conventional standard cell [A].
    periods : (2, 2) float64 array
        Two vectors that the image repeats by, rows (x, y) [A].
    """

    image: Floats
    side: float
    lattice_constant: float
    periods: Floats


def slice_image(
    rho: Floats,
    structure: Structure,
    *,
    hkl: Miller,
    through: str | float,
    window: Window,
    pixels: int,
    planes: int = 1,
) -> Slice:
    """Exact density on a lattice plane, the same for every cell that describes the crystal.

    The density is low-passed to the pixel pitch: waves with abs(G) <= pi / pitch, and inside the grid's Nyquist box.

    Parameters
    ----------
    rho : (na, nb, nc) float64 array
        Density on its native grid [e/A^3], axes along a, b, c of `structure`.
    structure : Structure
        The crystal in the cell of the grid.
    hkl : tuple of 3 int, or "densest"
        Plane, in the conventional standard cell.
    through : str or float
        ``heaviest``, ``mean``, an element, or a height; see `planes.find_plane`.
    window : Window
        The square to cut out, by ``cells`` or ``angstrom``.
    pixels : int
        Pixels along a side of the image.
    planes : {1, 3}
        One plane, or three from below to above the site (`HEIGHTS`).

    Raises
    ------
    RejectedMaterialError
        BAD_STRUCTURE, NOT_PERIODIC or NO_PLANE: see `cells`, `spectra`, `planes`.
    """
    view = _find_view(rho, structure, hkl, through, window, pixels)
    images = [_evaluate(view.spectrum, plane, view.cell, view.offsets) for plane in view.planes(planes)]
    return Slice(_stacked(images), view.side, view.lattice_constant, view.periods)


def slice_image_as_published(
    rho: Floats,
    structure: Structure,
    *,
    hkl: Miller,
    through: str | float,
    window: Window,
    pixels: int,
    shape: tuple[int, int, int],
    planes: int = 1,
) -> Slice:
    """Density on a lattice plane in the order of steps of Massa et al. 2024.

    The file's cell is brought onto the unified grid, repeated, and cut with linear interpolation between points.
    Periodic look-up stands for the 8 x 8 x 8 repetition, whose values it gives without its 885 MB. The grid is the
    file's, so this image, unlike `slice_image`, depends (weakly) on the cell and is not low-passed to the pixels.

    Parameters
    ----------
    shape : tuple of 3 int
        Points of the unified grid (papers: 60 x 60 x 60); the other parameters are those of `slice_image`.
    """
    view = _find_view(rho, structure, hkl, through, window, pixels)
    grid = regrid(rho, shape)
    images = [_interpolate(grid, plane, view.cell, view.offsets) for plane in view.planes(planes)]
    return Slice(_stacked(images), view.side, view.lattice_constant, view.periods)


@dataclass(frozen=True)
class _View:
    """What both ways of slicing share: the cell, the low-passed density, the plane, the side, the pixels."""

    cell: StandardCell
    spectrum: Spectrum
    plane: Plane
    side: float
    offsets: Floats

    @property
    def lattice_constant(self) -> float:
        """First conventional lattice constant, a [A]."""
        return float(np.linalg.norm(self.cell.lattice[0]))

    @property
    def periods(self) -> Floats:
        """In-plane lattice vectors as rows (x, y) [A], (2, 2)."""
        orientation = self.plane.orientation
        vectors = np.stack([orientation.along, orientation.across]) @ self.cell.primitive
        return np.asarray(vectors @ orientation.axes[:2].T)

    def planes(self, number: int) -> list[Plane]:
        """Give the plane through the site, or three."""
        return [self.plane if height == 0 else self.plane.lifted(self.cell, height) for height in HEIGHTS[number]]


def _find_view(
    rho: Floats, structure: Structure, hkl: Miller, through: str | float, window: Window, pixels: int
) -> _View:
    """Plane and pixels of an image."""
    cell = standard_cell(structure)
    normals = find_normals(cell, hkl)
    side = window_side(cell, normals, window)
    pitch = side / pixels
    spectrum = low_pass(rho, cell, g_cut=np.pi / pitch)
    plane = find_plane(cell, spectrum, normals=normals, through=through)
    offsets = (np.arange(pixels, dtype=np.float64) - (pixels - 1) / 2) * pitch
    return _View(cell, spectrum, plane, side, offsets)


def _evaluate(spectrum: Spectrum, plane: Plane, cell: StandardCell, offsets: Floats) -> Floats:
    """Image (p, p) [e/A^3] at pixel offsets (p,) [A] from the centre, by the formula above."""
    view = plane.orientation
    length = view.along @ cell.primitive @ view.axes[0]
    s, t = view.axes[:2] @ cell.primitive.T @ view.across
    p, q, folded = _fold(spectrum, plane)
    turns_x = np.outer(p, offsets) / length
    turns_y = np.outer(-offsets, q) / t
    shear = np.outer(-offsets, p) * s / (length * t)
    columns = (np.exp(2j * np.pi * turns_y) @ folded.T) * np.exp(-2j * np.pi * shear)
    return np.asarray((columns @ np.exp(2j * np.pi * turns_x)).real)


def _fold(spectrum: Spectrum, plane: Plane) -> tuple[Floats, Floats, Complexes]:
    """In-plane indices p (np,), q (nq,) and coefficients c (np, nq) [e/A^3], averaged over the plane's centres."""
    phases = np.exp(2j * np.pi * (spectrum.indices @ plane.centres.T)).mean(axis=1)
    coefficients = spectrum.coefficients * phases
    p, q = (spectrum.indices @ vector for vector in (plane.orientation.along, plane.orientation.across))
    n_q = int(np.ptp(q)) + 1
    slots = (p - p.min()) * n_q + (q - q.min())
    size = (int(np.ptp(p)) + 1) * n_q
    folded = np.bincount(slots, coefficients.real, size) + 1j * np.bincount(slots, coefficients.imag, size)
    axes = (np.arange(index.min(), index.max() + 1, dtype=np.float64) for index in (p, q))
    return *axes, folded.reshape(-1, n_q)  # type: ignore[return-value]


def _interpolate(grid: Floats, plane: Plane, cell: StandardCell, offsets: Floats) -> Floats:
    """Image (p, p) [e/A^3] by linear interpolation of a grid (na, nb, nc) of the file's cell."""
    x, y = np.meshgrid(offsets, -offsets)
    in_plane = np.stack([x, y], axis=-1) @ plane.orientation.axes[:2] @ np.linalg.inv(cell.primitive)
    image = np.zeros(x.shape)
    for centre in plane.centres:
        frac_coords = (centre + in_plane) @ np.linalg.inv(cell.multiples)  # of the file's cell
        points = np.moveaxis(frac_coords * grid.shape, -1, 0)
        image += scipy.ndimage.map_coordinates(grid, points, order=1, mode="grid-wrap")
    return np.asarray(image / len(plane.centres))


def _stacked(images: list[Floats]) -> Floats:
    """One image (p, p) as it is, several as (n, p, p)."""
    return images[0] if len(images) == 1 else np.stack(images)
