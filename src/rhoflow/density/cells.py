"""The map from the cell of a file onto the standard cells of its crystal.

Two files may describe one crystal in different cells: primitive, conventional, a supercell, rotated, with another
origin or other axes. What follows (planes, slices) works in the standard primitive cell that spglib finds, with an
idealised lattice, so that it cannot know which cell the file used.

Frames and signs: lattice vectors are rows. A reciprocal vector is given by its integer indices m in some basis,
``G . r = 2 pi m . x`` for fractional coordinates x in that basis. Fractional coordinates in the primitive cell are
counted from the *file's* origin, so Fourier coefficients of the file's grid need no extra phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.errors import Reason, RejectedMaterialError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SYMPREC = 1e-2  # [A] distance within which sites count as equivalent
# Columns: primitive lattice vectors in the conventional basis (spglib's documented choice).
_CENTRING: dict[str, Floats] = {
    "P": np.eye(3),
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
}
_LAST_NUMBER = (2, 15, 74, 142, 194, 230)  # last space group of each crystal system
# A metric of each system without accidental equalities, so that a = b by chance is no symmetry.
_METRICS = (
    [[1.0, 0.13, 0.29], [0.13, 1.7, 0.37], [0.29, 0.37, 2.9]],
    [[1.0, 0, 0.29], [0, 1.7, 0], [0.29, 0, 2.9]],
    [[1.0, 0, 0], [0, 1.7, 0], [0, 0, 2.9]],
    [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 2.9]],
    [[1.0, -0.5, 0], [-0.5, 1.0, 0], [0, 0, 2.9]],
    [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
)


@dataclass(frozen=True)
class StandardCell:
    """A crystal in its standard cells, and how the file's cell is made of them.

    Attributes
    ----------
    number : int
        Space group number.
    letter : str
        Centring of the conventional standard cell: P, A, C, I, F or R.
    lattice : (3, 3) float64 array
        Conventional standard lattice vectors as rows [A], idealised to the crystal system.
    multiples : (3, 3) int64 array
        File's lattice vectors (rows) in units of the primitive ones; abs(det) is the number of primitive cells.
    frac_coords : (n, 3) float64 array
        Sites of one primitive cell in its own basis, counted from the file's origin.
    numbers : (n,) int64 array
        Their atomic numbers.
    """

    number: int
    letter: str
    lattice: Floats
    multiples: Ints
    frac_coords: Floats
    numbers: Ints

    @property
    def centring(self) -> Floats:
        """(3, 3) primitive lattice vectors as columns in the conventional basis."""
        return _CENTRING[self.letter]

    @cached_property
    def primitive(self) -> Floats:
        """(3, 3) primitive lattice vectors as rows [A]."""
        return self.centring.T @ self.lattice

    @cached_property
    def reciprocal(self) -> Floats:
        """(3, 3) reciprocal vectors of the primitive cell as rows [1/A], 2 pi included."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.primitive).T)

    @property
    def volume(self) -> float:
        """Volume of the primitive cell [A^3]."""
        return float(abs(np.linalg.det(self.primitive)))

    @property
    def spacing(self) -> float:
        """Edge of the cube that one site has on average [A]: the crystal's own unit of length."""
        return float((self.volume / len(self.numbers)) ** (1 / 3))

    @property
    def is_fcc(self) -> bool:
        """Whether the lattice is face-centred cubic."""
        return self.letter == "F" and self.number > _LAST_NUMBER[4]

    @cached_property
    def holohedry(self) -> Ints:
        """(k, 3, 3) point symmetries of the lattice, acting on conventional indices from the right."""
        system = int(np.searchsorted(_LAST_NUMBER, self.number))
        rotations = _metric_symmetries(system)
        primitive = np.linalg.inv(self.centring) @ rotations @ self.centring
        return np.asarray(rotations[np.abs(primitive - np.round(primitive)).max(axis=(1, 2)) < 1e-9])


def standard_cell(structure: Structure) -> StandardCell:
    """Find the standard cells of a crystal and their relation to the cell of `structure`.

    Parameters
    ----------
    structure : Structure
        Ordered crystal in any cell, right- or left-handed.

    Raises
    ------
    RejectedMaterialError
        BAD_STRUCTURE, if spglib finds no space group (e.g. two sites on one place).
    """
    cell = (structure.lattice.matrix, structure.frac_coords, list(structure.atomic_numbers))
    try:
        # `_throw`: errors as exceptions, which is spglib's coming default; without it 2.8 warns at every call.
        data = spglib.get_symmetry_dataset(cell, symprec=SYMPREC, _throw=True)
    except spglib.error.SpglibError as error:
        detail = f"spglib finds no symmetry of {structure.formula} within {SYMPREC} A ({error}); check the sites"
        raise RejectedMaterialError(Reason.BAD_STRUCTURE, detail) from error
    letter = data.international[0]
    to_primitive = np.linalg.inv(_CENTRING[letter])
    _, first = np.unique(data.std_mapping_to_primitive, return_index=True)
    return StandardCell(
        number=data.number,
        letter=letter,
        lattice=data.std_lattice,
        multiples=np.round((to_primitive @ data.transformation_matrix).T).astype(np.int64),
        frac_coords=(data.std_positions[first] - data.origin_shift) @ to_primitive.T,
        numbers=data.std_types[first].astype(np.int64),
    )


def to_primitive_indices(indices: Ints, cell: StandardCell) -> tuple[Ints, NDArray[np.bool_]]:
    """Reciprocal indices in the primitive cell from those in the file's cell.

    Parameters
    ----------
    indices : (k, 3) int64 array
        Indices in the reciprocal basis of the file's cell.

    Returns
    -------
    (k, 3) int64 array
        Indices in the reciprocal basis of the primitive cell, rounded down where they are fractional.
    (k,) bool array
        Which of them are whole: the others are waves that only a supercell has.
    """
    n_cells = round(np.linalg.det(cell.multiples))
    adjugate = np.round(np.linalg.inv(cell.multiples) * n_cells).astype(np.int64)
    scaled = indices @ adjugate.T  # whole numbers: n_cells times the primitive indices
    return scaled // n_cells, (scaled % n_cells == 0).all(axis=1)


@lru_cache
def _metric_symmetries(system: int) -> Ints:
    """(k, 3, 3) integer matrices R with R^T g R = g for the metric g of a crystal system."""
    metric = np.array(_METRICS[system])
    vectors = np.array(list(product((-1, 0, 1), repeat=3)))
    lengths = np.einsum("ki,ij,kj->k", vectors, metric, vectors)
    # an image of a basis vector is as long as the vector itself
    images = [vectors[np.abs(lengths - length) < 1e-9] for length in np.diag(metric)]
    matrices = np.array([np.stack(columns, axis=1) for columns in product(*images)])
    moved = np.swapaxes(matrices, 1, 2) @ metric @ matrices
    return np.asarray(matrices[np.abs(moved - metric).max(axis=(1, 2)) < 1e-9])
