"""Crystals, settings and analytic densities for the slice tests, made with pymatgen and NumPy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """A window, as the kernels see it."""

    cells: int | None = None
    angstrom: float | None = None


def crystal(name: str) -> Structure:
    """Conventional cell of a test crystal."""
    return _crystal(name).copy()


@lru_cache
def _crystal(name: str) -> Structure:
    cubic = Lattice.cubic
    table = {
        "Al": (225, cubic(4.05), ["Al"], [[0, 0, 0]]),
        "NaCl": (225, cubic(5.65), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "ZnS": (216, cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
        "TiNiSn": (216, cubic(5.95), ["Sn", "Ni", "Ti"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]]),
        "CaF2": (225, cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
        "diamond": (227, cubic(5.43), ["Si"], [[0, 0, 0]]),
        "bcc": (229, cubic(3.16), ["W"], [[0, 0, 0]]),
        "sc": (221, cubic(3.35), ["Po"], [[0, 0, 0]]),
        "hcp": (194, Lattice.hexagonal(2.95, 4.68), ["Ti"], [[1 / 3, 2 / 3, 0.25]]),
        "Al2O3": (167, Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]]),
        "FeSi": (198, cubic(4.49), ["Fe", "Si"], [[0.136] * 3, [0.844] * 3]),  # chiral, P2_13
        "quartz": (154, Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0, 2 / 3], [0.414, 0.268, 0.786]]),
        "TiO2": (136, Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]),
        "triclinic": (
            1,
            Lattice.from_parameters(3.9, 4.6, 5.7, 98, 99, 107),
            ["Pb", "O", "C"],
            [[0.1, 0.2, 0.3], [0.47, 0.61, 0.19], [0.82, 0.33, 0.74]],
        ),
    }
    number, lattice, species, coords = table[name]
    return Structure.from_spacegroup(number, lattice, species, coords)


def change_cell(
    structure: Structure,
    *,
    matrix: object = ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    shift: object = (0, 0, 0),
    rotation: object = ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
) -> Structure:
    """Express the crystal in lattice vectors `matrix` @ lattice (rows), moved by `shift` (fractions), rotated.

    abs(det(matrix)) is the number of cells; it may be a fraction if the smaller cell is one of the crystal.
    """
    matrix = np.array(matrix, dtype=float)
    reach = range(-int(np.abs(matrix).sum(axis=0).max()) - 1, int(np.abs(matrix).sum(axis=0).max()) + 2)
    images = np.array(list(product(reach, repeat=3)))
    species, coords = [], []
    for site in structure:
        inside = (site.frac_coords + images) @ np.linalg.inv(matrix)
        inside = np.unique(np.round(inside % 1, 9) % 1, axis=0)
        species += [site.specie] * len(inside)
        coords.extend(inside)
    # sites of a smaller cell arrive several times
    unique = sorted({(specie, tuple(coord)) for specie, coord in zip(species, coords, strict=True)}, key=str)
    lattice = matrix @ structure.lattice.matrix @ np.array(rotation, dtype=float).T
    coords = np.array([coord for _, coord in unique]) + np.array(shift)
    return Structure(lattice, [specie for specie, _ in unique], coords % 1)


def random_rotation(seed: int) -> Floats:
    """Proper rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def gaussian_waves(structure: Structure, band: float) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Indices (k, 3) in the file's cell, Fourier coefficients (k,) [e/A^3] of Gaussians on the sites, abs(G) <= band.

    F(G) = (1/V) sum_a Z_a exp(-G^2 w_a^2 / 2) exp(-i G . r_a), each element with a width of its own [A].
    """
    reciprocal = structure.lattice.reciprocal_lattice.matrix
    limits = np.floor(band * np.array(structure.lattice.abc) / (2 * np.pi)).astype(int)
    ranges = [np.arange(-limit, limit + 1) for limit in limits]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(indices @ reciprocal, axis=1)
    indices, length = indices[length <= band], length[length <= band]
    total = np.zeros(len(indices), dtype=complex)
    for site in structure:
        width = 0.18 + 0.003 * (site.specie.Z % 17)
        phase = np.exp(-2j * np.pi * indices @ site.frac_coords)
        total += site.specie.Z * np.exp(-((length * width) ** 2) / 2) * phase
    seen = np.abs(total) > 1e-12 * np.abs(total).max()  # the others are extinct
    return indices[seen], total[seen] / structure.volume


def on_grid(indices: NDArray[np.int64], waves: NDArray[np.complex128], shape: tuple[int, int, int]) -> Floats:
    """Real field [e/A^3] on a grid from its Fourier coefficients; the grid must be fine enough."""
    assert (2 * np.abs(indices).max(axis=0) < shape).all(), (np.abs(indices).max(axis=0), shape)
    grid = np.zeros(shape, dtype=complex)
    np.add.at(grid, tuple(indices.T % np.array(shape)[:, None]), waves)
    field = np.fft.ifftn(grid) * grid.size
    assert np.abs(field.imag).max() < 1e-9 * np.abs(field).max()
    return np.ascontiguousarray(field.real)


def gaussian_density(structure: Structure, band: float, *, spare: int = 4) -> Floats:
    """Gaussians on the sites, band-limited to abs(G) <= band, on a grid a little finer than needed [e/A^3]."""
    needed = 2 * np.floor(band * np.array(structure.lattice.abc) / (2 * np.pi)).astype(int) + 1
    return on_grid(*gaussian_waves(structure, band), tuple(int(n) for n in needed + spare))


def into_cell(
    rho: Floats, structure: Structure, *, matrix: object, shift: object, points: int
) -> tuple[Structure, Floats]:
    """Express a gridded density in another cell by relabelling its waves: (structure, density [e/A^3] on points^3).

    Waves on or beyond the Nyquist box of either grid are dropped, which is all that the cells may disagree on.
    """
    other = change_cell(structure, matrix=matrix, shift=shift)
    waves = np.fft.fftn(rho) / rho.size
    ranges = [np.arange(-((n - 1) // 2), (n - 1) // 2 + 1) for n in rho.shape]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    waves = waves[tuple(indices.T)]
    there = np.round(indices @ np.array(matrix).T).astype(int)  # a' = M a, so m' = M m
    fits = (2 * np.abs(there) < points).all(axis=1)
    moved = waves * np.exp(-2j * np.pi * there @ np.array(shift))  # r -> r + shift
    return other, on_grid(there[fits], moved[fits], (points,) * 3)


def brute_force(structure: Structure, band: float, points: Floats) -> Floats:
    """Field of `gaussian_waves` at Cartesian points (..., 3) [A] of the file: a sum over all G at each point."""
    indices, waves = gaussian_waves(structure, band)
    wave_vectors = indices @ structure.lattice.reciprocal_lattice.matrix
    return (np.exp(1j * points @ wave_vectors.T) @ waves).real


def cubic_frames(rotation: object = ((1, 0, 0), (0, 1, 0), (0, 0, 1))) -> Iterator[Floats]:
    """All 48 right-handed frames (rows x, y, z) with z along a <111> and x along a <1-10> of a cubic crystal."""
    for z in product((-1, 1), repeat=3):
        for x in product((-1, 0, 1), repeat=3):
            if np.abs(x).sum() == 2 and np.dot(x, z) == 0:
                e_x, e_z = np.array(x) / np.sqrt(2), np.array(z) / np.sqrt(3)
                yield np.stack([e_x, np.cross(e_z, e_x), e_z]) @ np.array(rotation, dtype=float).T


def pixel_points(centre: Floats, axes: Floats, side: float, pixels: int) -> Floats:
    """Cartesian pixel centres (p, p, 3): columns along +x, rows along -y, the middle of the square at `centre`."""
    offsets = ((np.arange(pixels) + 0.5) / pixels - 0.5) * side
    x, y = np.meshgrid(offsets, offsets[::-1])
    return centre + x[..., None] * axes[0] + y[..., None] * axes[1]


def difference(image: Floats, reference: Floats) -> float:
    """Largest absolute difference over the reference's range."""
    return float(np.abs(image - reference).max() / np.ptp(reference))
