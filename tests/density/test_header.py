"""The POSCAR part of density files, against pymatgen where pymatgen is right."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar
from vasp_text import NACL, poscar_text

from rhoflow.density.header import read_header

PRINTED_ATOL = 1e-10  # coordinates are printed with 12 digits


def read(text: str):
    return read_header(BytesIO(text.encode()), Path("CHGCAR"))


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.lists(st.integers(1, 94), min_size=1, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1.0, 0.7, 5.43]),
    cartesian=st.booleans(),
    selective=st.booleans(),
)
def test_agrees_with_pymatgen_on_positive_scale(numbers, seed, scale, cartesian, selective):
    rng = np.random.default_rng(seed)
    lattice = Lattice(9 * np.eye(3) + rng.uniform(-1, 1, (3, 3)))
    crystal = Structure(lattice, numbers, rng.uniform(-1, 2, (len(numbers), 3)))
    text = poscar_text(crystal, scale=scale, cartesian=cartesian, selective=selective)
    ours = read(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Poscar.from_str(text).structure
    np.testing.assert_allclose(ours.lattice, theirs.lattice.matrix, atol=PRINTED_ATOL)
    np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, atol=PRINTED_ATOL)
    assert list(ours.symbols) == [site.specie.symbol for site in theirs]


def test_negative_scale_with_cartesian_coordinates_is_where_pymatgen_errs():
    text = poscar_text(NACL, scale=-NACL.volume, cartesian=True)
    np.testing.assert_allclose(read(text).frac_coords, NACL.frac_coords, atol=PRINTED_ATOL)
    theirs = Poscar.from_str(text).structure.frac_coords
    assert abs(theirs - NACL.frac_coords).max() > 1  # if this fails, pymatgen was mended


def test_three_scale_factors_scale_the_cartesian_axes():
    lines = poscar_text(NACL, cartesian=True).splitlines()
    lines[1] = "1.0 2.0 0.5"
    header = read("\n".join(lines))
    np.testing.assert_allclose(header.lattice, NACL.lattice.matrix * [1.0, 2.0, 0.5], atol=PRINTED_ATOL)
    np.testing.assert_allclose(header.frac_coords, NACL.frac_coords, atol=PRINTED_ATOL)


def test_species_over_several_lines():
    lines = poscar_text(NACL).splitlines()
    lines[5:7] = ["Na", "Cl", "1", "1"]
    header = read("\n".join(lines))
    assert header.symbols == ("Na", "Cl")
    assert header.counts == (1, 1)


def test_blank_comment_line_is_a_comment():
    assert read("\n" + poscar_text(NACL).split("\n", 1)[1]).symbols == ("Na", "Cl")


def test_file_stands_after_the_last_site():
    text = BytesIO((poscar_text(NACL) + "\n 6 5 7\n").encode())
    read_header(text, Path("CHGCAR"))
    assert text.read() == b"\n 6 5 7\n"


def test_vasp4_has_counts_but_no_symbols():
    header = read(poscar_text(NACL, symbols=False))
    assert header.symbols is None
    assert header.counts == (1, 1)
