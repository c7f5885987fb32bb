"""Periodic functions of an FCC crystal as Fourier coefficients on a sphere of reciprocal vectors."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import Complexes, Floats, Ints
from .fcc import RECIPROCAL


@dataclass(frozen=True)
class Sphere:
    """The reciprocal vectors that an n x n x n primitive grid can carry without a preferred direction.

    They fill the largest sphere inside the grid's Nyquist cell, so that the density keeps the symmetry
    of the crystal.

    Attributes
    ----------
    lattice_constant
        Cubic edge a [A].
    n
        Points along each primitive vector.
    """

    lattice_constant: float
    n: int

    @cached_property
    def miller(self) -> Ints:
        """(m, 3) components along the primitive reciprocal vectors."""
        limit = math.ceil(self.n * math.sqrt(3 / 8))  # |G . a_i| <= |G| |a_i|
        axis = np.arange(-limit, limit + 1)
        miller = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        squared = ((miller @ RECIPROCAL) ** 2).sum(axis=1)
        return np.asarray(miller[squared < self.squared_radius])

    @property
    def squared_radius(self) -> float:
        """Half of the length of n times a primitive reciprocal vector, squared [(2 pi / a)^2]."""
        return 0.75 * self.n**2 * (1 - 1e-9)

    @cached_property
    def hkl(self) -> Ints:
        """(m, 3) Cartesian components [2 pi / a]."""
        return np.asarray(self.miller @ RECIPROCAL)

    @cached_property
    def vectors(self) -> Floats:
        """(m, 3) Cartesian components [1/A]."""
        return self.hkl * (2 * math.pi / self.lattice_constant)

    @cached_property
    def _shells(self) -> tuple[Ints, Ints]:
        squared, index = np.unique((self.hkl**2).sum(axis=1), return_inverse=True)
        return squared, index

    @property
    def shell_lengths(self) -> Floats:
        """(s,) distinct lengths [1/A], ascending; the first is 0."""
        return np.sqrt(self._shells[0]) * (2 * math.pi / self.lattice_constant)

    @property
    def shell(self) -> Ints:
        """(m,) index of the length of each vector."""
        return self._shells[1]

    @property
    def lengths(self) -> Floats:
        """(m,) lengths [1/A]."""
        return self.shell_lengths[self.shell]

    @property
    def directions(self) -> Floats:
        """(m, 3) unit vectors; zero for G = 0."""
        return self.vectors / np.maximum(self.lengths, 1e-12)[:, None]

    def phases(self, frac_coord: Floats) -> Complexes:
        """(m,) factors exp(-i G . r) of an atom at a primitive fractional coordinate."""
        return np.asarray(np.exp(-2j * np.pi * (self.miller @ frac_coord)))

    def analyse(self, field: Floats) -> Complexes:
        """Fourier coefficients (m,) of a field on a grid of any size; 0 outside the sphere of that grid."""
        coefficients = np.fft.fftn(field) / field.size
        radius = 0.75 * min(field.shape) ** 2 * (1 - 1e-9)
        inside = (self.hkl**2).sum(axis=1) < radius
        index = self.miller % np.array(field.shape)
        return np.where(inside, coefficients[tuple(index.T)], 0)

    def synthesise(self, coefficients: Complexes, *, sigma: float) -> Floats:
        """Field on the grid, low-pass filtered.

        Parameters
        ----------
        coefficients : (m,) complex128 array
            In any unit, Hermitian (the field is real).
        sigma
            Width of the Gaussian [A] that the field is convolved with; 0 for none.

        Returns
        -------
        (n, n, n) float64 array
            In the unit of the coefficients.
        """
        box = np.zeros((self.n,) * 3, complex)
        box[tuple((self.miller % self.n).T)] = coefficients * np.exp(-0.5 * (self.lengths * sigma) ** 2)
        field = np.fft.ifftn(box) * self.n**3
        assert abs(field.imag).max() < 1e-6 * max(1.0, abs(field.real).max()), "the coefficients are not Hermitian"
        return np.ascontiguousarray(field.real)
