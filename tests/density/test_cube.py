"""Cube files of Quantum ESPRESSO and of ASE, in either unit, against fields that are known."""

from __future__ import annotations

import gzip
import lzma
import warnings
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.core.units import bohr_to_angstrom
from pymatgen.io.common import VolumetricData
from vasp_text import NACL, waves

from rhoflow.density.cube import is_cube
from rhoflow.density.read import read_density
from rhoflow.errors import Reason, RejectedMaterialError

SHAPE = (6, 7, 9)
FIVE_DIGITS = 1e-4  # of a value as pp.x prints it
ELECTRONS = 8


def cube_text(
    structure: Structure,
    rho: np.ndarray,
    *,
    form: str = "{:13.5E}",
    unit: float = bohr_to_angstrom**3,
    angstrom: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    first: str = "",
    decimals: int = 12,
) -> bytes:
    """A cube file as pp.x writes it; ASE's has another `form` and often the unit 1.

    Parameters
    ----------
    rho : (na, nb, nc) array
        Density [e/A^3].
    unit : float
        What 1 e/A^3 is in the file's unit.
    origin : tuple of float
        First point of the grid [A]; atoms are moved with it.
    first : str
        Ends the line of the number of atoms.
    decimals : int
        Of the steps of the grid.
    """
    length = 1.0 if angstrom else 1 / bohr_to_angstrom
    sign = -1 if angstrom else 1
    lines = ["Cubefile created from PWScf calculation", " Contains the selected quantity on a FFT grid"]
    x, y, z = np.array(origin) * length
    lines += [f"{len(structure):5d}{x:12.6f}{y:12.6f}{z:12.6f}{first}"]
    for n, vector in zip(rho.shape, structure.lattice.matrix, strict=True):
        lines += [f"{sign * n:5d}" + "".join(f"{v * length / n:18.{decimals}f}" for v in vector)]
    for site in structure:
        coords = (site.coords + origin) * length
        lines += [f"{site.specie.Z:5d}{float(site.specie.Z):12.6f}" + "".join(f"{v:18.12f}" for v in coords)]
    text = "\n".join(lines) + "\n"
    for column in (rho * unit).reshape(-1, rho.shape[2]):  # the last axis runs fastest, and ends its line
        words = [form.format(value) for value in column]
        text += "".join(" ".join(words[k : k + 6]) + "\n" for k in range(0, len(words), 6))
    return text.encode()


@pytest.fixture
def rho() -> np.ndarray:
    """Density of 8 electrons [e/A^3]."""
    return waves(SHAPE, ELECTRONS / NACL.volume)


def _read(folder: Path, content: bytes, name: str = "NaCl.cube"):
    (folder / name).write_bytes(content)
    return read_density(folder / name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"form": "{:e}", "unit": 1.0},
        {"angstrom": True},
        {"form": "{:e}", "unit": 1.0, "angstrom": True},
        {"first": "    1"},
    ],
    ids=["espresso", "ase-e-per-A3", "lengths-in-A", "all-in-A", "one-value-a-point"],
)
def test_density_arrives_in_e_per_a3_whatever_the_files_units(tmp_path: Path, rho, options) -> None:
    found = _read(tmp_path, cube_text(NACL, rho, **options))
    np.testing.assert_allclose(found.total, rho, rtol=FIVE_DIGITS)
    assert found.electrons == pytest.approx(ELECTRONS, abs=1e-4)
    assert found.spin == {}


def test_crystal_of_a_cube(tmp_path: Path, rho) -> None:
    found = _read(tmp_path, cube_text(NACL, rho)).structure
    np.testing.assert_allclose(found.lattice.matrix, NACL.lattice.matrix, atol=1e-8)
    np.testing.assert_allclose(found.frac_coords, NACL.frac_coords, atol=1e-8)
    assert found.atomic_numbers == NACL.atomic_numbers


def test_grid_that_begins_elsewhere_moves_the_atoms_to_it(tmp_path: Path, rho) -> None:
    found = _read(tmp_path, cube_text(NACL, rho, origin=(1.0, -2.0, 3.0))).structure
    np.testing.assert_allclose(found.cart_coords, NACL.cart_coords, atol=1e-5)


def test_crystal_and_values_are_pymatgens(tmp_path: Path, rho) -> None:
    found = _read(tmp_path, cube_text(NACL, rho))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = VolumetricData.from_cube(tmp_path / "NaCl.cube")
    np.testing.assert_allclose(found.structure.cart_coords, theirs.structure.cart_coords, atol=1e-8)
    np.testing.assert_allclose(found.total, theirs.data["total"] / bohr_to_angstrom**3, rtol=FIVE_DIGITS)


@pytest.mark.parametrize("name", ["NaCl.cube.gz", "NaCl.cube.xz"])
def test_packed_cube(tmp_path: Path, rho, name: str) -> None:
    pack = {"gz": gzip.compress, "xz": lzma.compress}[name[-2:]]
    found = _read(tmp_path, pack(cube_text(NACL, rho)), name)
    np.testing.assert_allclose(found.total, rho, rtol=FIVE_DIGITS)


@pytest.mark.parametrize(
    ("name", "yes"),
    [("a.cube", True), ("a.cube.gz", True), ("a.cube.bz2", True), ("CHGCAR", False), ("a.cube.CHGCAR", False)],
)
def test_a_cube_is_told_by_its_name(name: str, yes: bool) -> None:
    assert is_cube(Path("b") / name) is yes


@pytest.mark.parametrize("electrons", [4, 8, 16])
@pytest.mark.parametrize("unit", [1.0, bohr_to_angstrom**3], ids=["e/A3", "e/bohr3"])
def test_unit_is_found_for_other_counts(tmp_path: Path, electrons: int, unit: float) -> None:
    rho = waves(SHAPE, electrons / NACL.volume)
    found = _read(tmp_path, cube_text(NACL, rho, unit=unit, form="{:e}"))
    assert found.electrons == pytest.approx(electrons, abs=1e-4)


def test_27_electrons_which_are_nearly_4_in_the_other_unit(tmp_path: Path) -> None:
    """27 e/bohr^3 V is 4.001 e/A^3 V, a whole number within the tolerance: the nearer one is right."""
    rho = waves(SHAPE, 27 / NACL.volume)
    assert _read(tmp_path, cube_text(NACL, rho)).electrons == pytest.approx(27, abs=1e-3)


def test_steps_of_six_decimals_leave_the_electrons_whole(tmp_path: Path) -> None:
    """What ASE and pp.x print makes the volume wrong by 1e-5, for 90 electrons more than their count may be off."""
    heavy = Structure(NACL.lattice, ["Au", "Pb"], NACL.frac_coords)
    rho = waves((90, 90, 10), 90 / NACL.volume)
    text = cube_text(heavy, rho, decimals=6, form="{:e}")
    found = _read(tmp_path, text)
    assert abs(found.structure.volume / NACL.volume - 1) * 90 > 1e-3
    assert found.electrons == pytest.approx(90, abs=1e-9)
    np.testing.assert_allclose(found.total, rho, rtol=FIVE_DIGITS)


@pytest.mark.parametrize("electrons", [8.02, 0.0, 40.0], ids=["fraction", "none", "more-than-the-atoms-have"])
def test_density_of_no_whole_electrons_is_refused_with_both_counts(tmp_path: Path, electrons: float) -> None:
    rho = waves(SHAPE, electrons / NACL.volume)
    with pytest.raises(
        RejectedMaterialError, match=r"if its values are e/bohr\^3, to .* if they are e/A\^3"
    ) as caught:
        _read(tmp_path, cube_text(NACL, rho))
    assert caught.value.reason is Reason.ELECTRON_COUNT
    assert f"{electrons:.6g}"[:4] in caught.value.detail


def _edit(rho: np.ndarray, line: int, new: bytes) -> bytes:
    lines = cube_text(NACL, rho).split(b"\n")
    lines[line] = new
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (lambda rho: b"", Reason.TRUNCATED, "number of atoms"),
        (lambda rho: cube_text(NACL, rho)[:200], Reason.UNREADABLE, "step of an axis"),
        (lambda rho: cube_text(NACL, rho)[:900], Reason.TRUNCATED, "cut short"),
        (lambda rho: cube_text(NACL, rho) + b"1.0\n", Reason.UNREADABLE, "follows after"),
        (lambda rho: _edit(rho, 2, b"-2 0 0 0"), Reason.UNREADABLE, "orbitals"),
        (lambda rho: _edit(rho, 2, b"2 0 0 0 3"), Reason.UNREADABLE, "several values a point"),
        (lambda rho: _edit(rho, 3, b"6 words 0 0"), Reason.UNREADABLE, "step of an axis"),
        (lambda rho: _edit(rho, 3, b"6 0 0 0"), Reason.BAD_STRUCTURE, "A\\^3 for 2 atoms"),
        (lambda rho: _edit(rho, 6, b"0 0 0 0 0"), Reason.NO_ELEMENTS, "atomic numbers"),
        (lambda rho: _edit(rho, 6, b"17 17 5.3 5.3 5.4"), Reason.BAD_STRUCTURE, "closer than"),
        (lambda rho: _edit(rho, 8, b"nan 1 1 1 1 1"), Reason.NOT_FINITE, "NaN"),
        (lambda rho: _edit(rho, 8, b"1 1 x 1 1 1"), Reason.UNREADABLE, "no number"),
    ],
    ids=["empty", "header", "grid", "more", "orbitals", "values", "words", "flat", "ghost", "near", "nan", "text"],
)
def test_bad_cube_is_refused(tmp_path: Path, rho, content, reason: Reason, message: str) -> None:
    with pytest.raises(RejectedMaterialError, match=message) as caught:
        _read(tmp_path, content(rho))
    assert caught.value.reason is reason
