"""Bad density files: each is one rejection that says what was found and what to do, and never anything else."""

from __future__ import annotations

import gzip
import json
import lzma
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from vasp_text import NACL, chgcar_text, poscar_text, waves

from rhoflow.density.read import read_density
from rhoflow.errors import Reason, RejectedMaterialError

GRID = (6, 5, 7)
TOTAL = waves(GRID, 8)
GOOD = chgcar_text(NACL, [TOTAL])
SPIN = chgcar_text(NACL, [TOTAL, waves(GRID, 1)])
CHG_SPIN = chgcar_text(NACL, [TOTAL, waves(GRID, 1)], columns=10)
SPIN_WITH_NAN = chgcar_text(NACL, [TOTAL, np.where(np.isclose(TOTAL, TOTAL.max()), np.nan, TOTAL)], columns=10)
LINES = GOOD.decode().splitlines()  # 1-5 head, 6-7 species, 8 Direct, 9-10 sites, 11 blank, 12 grid, 13-54 values
GRID_LINE = 11


def edited(line: int, new: str) -> bytes:
    """The good file with one line (counted from 0) replaced."""
    return "\n".join([*LINES[:line], new, *LINES[line + 1 :]]).encode() + b"\n"


def value_replaced(new: str) -> bytes:
    return edited(20, LINES[20].replace(LINES[20].split()[2], new))


CASES = {
    "empty": (b"", Reason.EMPTY, "no content"),
    "blank": (b" \n\n  \n", Reason.EMPTY, "no content"),
    "one line of prose": (
        b"Fake CHGCAR file for testing.\n",
        Reason.TRUNCATED,
        "ends after line 1, where the scale factor should follow",
    ),
    "prose": (
        b"This is\nno CHGCAR\nat all\n" * 9,
        Reason.UNREADABLE,
        "line 2 is 'no <text>', expected the scale factor",
    ),
    "html": (b"<html>\n<body>404</body>\n</html>\n" * 9, Reason.UNREADABLE, "line 2 is '<text>', expected"),
    "binary": (bytes(range(256)) * 9, Reason.UNREADABLE, "line 2 is"),
    "letters in the data": (
        value_replaced("abcdef"),
        Reason.UNREADABLE,
        "value 43 of 210 of grid 6 x 5 x 7 is '<text>'",
    ),
    "stars in the data": (value_replaced("***********"), Reason.UNREADABLE, "is '***********', no number"),
    "letters after the data": (
        edited(53, LINES[53] + " x"),
        Reason.UNREADABLE,
        "unexpected 'x' after a density block",
    ),
    "letters glued to the data": (edited(53, LINES[53] + "x"), Reason.UNREADABLE, "unexpected 'x'"),
    "nan": (value_replaced("NaN"), Reason.NOT_FINITE, "1 of 210 values are NaN, infinite or absurdly large"),
    "infinite": (value_replaced("-Infinity"), Reason.NOT_FINITE, "1 of 210 values"),
    "out of range": (value_replaced("0.1E+999"), Reason.UNREADABLE, "no number"),
    "nan in the spin": (SPIN_WITH_NAN, Reason.NOT_FINITE, "1 of 210 values"),
    "value missing": (value_replaced(""), Reason.TRUNCATED, "209 of 210 values are there"),
    "value too many": (value_replaced("1.0 8.0"), Reason.UNREADABLE, "wrong grid line"),
    "block cut": (GOOD[:2000], Reason.TRUNCATED, "grid 6 x 5 x 7 is cut short"),
    "cut in the head": (GOOD[:200], Reason.TRUNCATED, "line 5 is"),
    "cut in the sites": ("\n".join(LINES[:9]).encode(), Reason.TRUNCATED, "announces 2 atoms|coordinates of 2 atoms"),
    "cut before the grid line": ("\n".join(LINES[:11]).encode(), Reason.TRUNCATED, "ends before the grid line"),
    "cut in the augmentation": (GOOD[:-60], Reason.TRUNCATED, "augmentation occupancies '2 7' is cut short"),
    "cut in the spin": (SPIN[:-900], Reason.TRUNCATED, "cut short"),
    "cut after the moments": (
        SPIN[: SPIN.rindex(b"    6    5    7")],
        Reason.TRUNCATED,
        "ends after 2 numbers behind block 1: its second grid is missing",
    ),
    "grid line of two": (
        edited(GRID_LINE, "  6  5"),
        Reason.UNREADABLE,
        "found '6 5' where the grid line, three positive",
    ),
    "grid line of zeros": (edited(GRID_LINE, " 0 0 0"), Reason.UNREADABLE, "wrong grid line: found '0 0 0'"),
    "negative grid": (edited(GRID_LINE, " 6 -5 7"), Reason.UNREADABLE, "wrong grid line: found '6 -5 7'"),
    "grid line missing": (edited(GRID_LINE, ""), Reason.UNREADABLE, "where the grid line, three positive integers"),
    "grid too large": (edited(GRID_LINE, "6 5 8"), Reason.TRUNCATED, "210 of 240 values are there"),
    "grid too small": (edited(GRID_LINE, "6 5 6"), Reason.UNREADABLE, "more numbers follow than the grid (6, 5, 6)"),
    "grid absurd": (
        edited(GRID_LINE, "99999 99999 99999"),
        Reason.TRUNCATED,
        "bytes follow for 999970000299999 values",
    ),
    "grid beyond integers": (edited(GRID_LINE, f"6 5 {10**4000}"), Reason.UNREADABLE, "wrong grid line"),
    "second grid another": (
        SPIN[::-1].replace(b"7    5    6    "[::1], b"5    7    6    ", 1)[::-1],
        Reason.UNREADABLE,
        "grid line '6 7 5' after 2 moments of 2 sites and a (6, 5, 7) block",
    ),
    "grid too large, without augmentation": (
        CHG_SPIN.replace(b"    6    5    7", b"    6    5    8", 1),
        Reason.UNREADABLE,
        "wrong grid line",
    ),
    "three blocks": (
        chgcar_text(NACL, [TOTAL] * 3),
        Reason.TRUNCATED,
        "3 density blocks, expected 1 (total), 2 (spin)",
    ),
    "five blocks": (chgcar_text(NACL, [TOTAL] * 5), Reason.UNREADABLE, "5 density blocks"),
    "augmentation without number": (
        GOOD.replace(b"occupancies   1   7", b"occupancies   x   y"),
        Reason.UNREADABLE,
        "lacks the number of augmentation occupancies",
    ),
    "scale zero": (edited(1, "0.0"), Reason.BAD_STRUCTURE, "gives no cell"),
    "scale nan": (edited(1, "nan"), Reason.UNREADABLE, "line 2 is 'nan', expected the scale factor"),
    "flat cell": (edited(4, LINES[3]), Reason.BAD_STRUCTURE, "the cell has 0 A^3 for 2 atoms"),
    "tiny cell": (edited(1, "0.01"), Reason.BAD_STRUCTURE, "check scale factor and lattice (lines 2-5)"),
    "huge cell": (edited(1, "1e300"), Reason.BAD_STRUCTURE, "at most 1000 A"),
    "long cell": (edited(2, "1e40 2.8 2.8"), Reason.BAD_STRUCTURE, "and at most 1000 A"),
    "lost site": (edited(9, "0.5 0.5 1e200"), Reason.BAD_STRUCTURE, "a fractional coordinate is 1e+200, at most 100"),
    "sites on one place": (edited(9, LINES[8]), Reason.BAD_STRUCTURE, "two sites are closer than 0.3 A"),
    "unknown element": (edited(5, "  Na  Xq"), Reason.NO_ELEMENTS, "line 6 names 'Xq', which is no element"),
    "symbol missing": (edited(5, "  Na"), Reason.BAD_STRUCTURE, "1 element symbols (Na) but 2 numbers of atoms"),
    "no atoms": (edited(6, "  0  0"), Reason.UNREADABLE, "line 7 is '0 0', expected element symbols or numbers"),
    "absurd number of atoms": (edited(6, "  1  999999999"), Reason.BAD_STRUCTURE, "for 1000000000 atoms"),
    "neither Direct nor Cartesian": (
        edited(7, "Fractional"),
        Reason.UNREADABLE,
        "line 8 is '<text>', expected 'Direct'",
    ),
    "bad coordinate": (
        edited(9, " 0.5 O.5 0.5"),
        Reason.UNREADABLE,
        "line 10 is '0.5 <text> 0.5', expected coordinates",
    ),
    "core density": (chgcar_text(NACL, [waves(GRID, 23.25)]), Reason.ELECTRON_COUNT, "integrates to 23.25 electrons"),
    "overlapped atoms": (chgcar_text(NACL, [waves(GRID, 8.013)]), Reason.ELECTRON_COUNT, "AECCAR, LOCPOT and ELFCAR"),
    "no electrons": (chgcar_text(NACL, [0 * TOTAL]), Reason.ELECTRON_COUNT, "integrates to 0 electrons"),
    "negative": (chgcar_text(NACL, [-TOTAL]), Reason.ELECTRON_COUNT, "integrates to -8 electrons"),
    "more electrons than atoms have": (
        chgcar_text(NACL, [waves(GRID, 31)]),
        Reason.ELECTRON_COUNT,
        "31 electrons for Na1 Cl1, expected a whole number from 1 to 30",
    ),
    "truncated gzip": (gzip.compress(GOOD)[:-40], Reason.TRUNCATED, "the compressed file ends too early"),
    "truncated xz": (lzma.compress(GOOD)[:-40], Reason.TRUNCATED, "the compressed file ends too early"),
    "damaged gzip": (gzip.compress(GOOD)[:-8] + b"checksum", Reason.UNREADABLE, "damaged compressed file"),
    "damaged xz": (lzma.compress(GOOD)[:300] + b"\0" * 999, Reason.UNREADABLE, "damaged compressed file"),
    "empty in gzip": (gzip.compress(b""), Reason.EMPTY, "no content"),
}


def reject(path) -> RejectedMaterialError:
    with pytest.raises(RejectedMaterialError) as caught:
        read_density(path)
    return caught.value


def test_the_edited_file_is_good(tmp_path):
    (tmp_path / "CHGCAR").write_bytes(edited(0, LINES[0]))
    assert read_density(tmp_path / "CHGCAR").electrons == pytest.approx(8, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_bad_file_is_rejected_with_reason_place_and_remedy(tmp_path, case):
    content, reason, message = CASES[case]
    path = tmp_path / "CHGCAR"
    path.write_bytes(content)
    error = reject(path)
    assert error.reason is reason, error.detail
    assert error.detail.startswith(f"{path}: ")
    assert any(part in error.detail for part in message.split("|")), error.detail
    remedy = r"copy|compute|correct|check|restore|give the|write one|is this a CHGCAR|allowed are|expected 1 \("
    assert re.search(remedy, error.detail), error.detail
    assert len(error.detail) < 400


def test_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "CHGCAR"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    assert reject(path).reason is Reason.UNREADABLE
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_file_that_cannot_be_opened_is_rejected(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "CHGCAR"
    error = reject(path)
    assert error.reason is Reason.UNREADABLE
    assert "give the path of a readable density file" in error.detail


@pytest.mark.parametrize("real", ["Si_static.AECCAR0.gz", "Si_static.AECCAR1.gz", "Si_static.AECCAR2.gz"])
def test_real_aeccar_is_no_chgcar(shared_data, real):
    assert reject(shared_data / "chgcar" / real).reason is Reason.ELECTRON_COUNT


def test_real_stub_is_rejected(shared_data):
    assert "ends after line 1" in reject(shared_data / "chgcar" / "stub.CHGCAR").detail


# --- VASP 4


def vasp4(tmp_path):
    path = tmp_path / "CHGCAR"
    path.write_bytes(chgcar_text(NACL, [TOTAL], symbols=False))
    return path


def test_vasp4_alone_is_rejected_and_no_element_invented(tmp_path):
    error = reject(vasp4(tmp_path))
    assert error.reason is Reason.NO_ELEMENTS
    assert "(VASP 4) and there is no" in error.detail
    assert "put the POSCAR" in error.detail


SWAPPED = Structure(NACL.lattice, ["Cl", "Na"], NACL.frac_coords[::-1])
BESIDE = {
    "other counts": (poscar_text(NACL * (2, 1, 1)), "it has groups of (1, 1) atoms"),
    "other order of sites": (poscar_text(SWAPPED), "site 1 of"),
    "other cell": (poscar_text(Structure(NACL.lattice.matrix * 1.2, NACL.species, NACL.frac_coords)), "the cell of"),
    "no elements either": (poscar_text(NACL, symbols=False), "does not name its elements either"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_vasp4_beside_another_structure_is_rejected(tmp_path, case):
    content, message = BESIDE[case]
    path = vasp4(tmp_path)
    path.with_name("POSCAR").write_text(content)
    error = reject(path)
    assert error.reason is Reason.NO_ELEMENTS
    assert message in error.detail


def test_vasp4_beside_a_damaged_cif_is_rejected(tmp_path):
    path = vasp4(tmp_path)
    path.with_name("structure.cif").write_text("data_\n_cell_length_a what\n")
    error = reject(path)
    assert error.reason is Reason.NO_ELEMENTS
    assert "structure.cif cannot be read" in error.detail


def test_vasp4_beside_a_damaged_poscar_is_rejected(tmp_path):
    path = vasp4(tmp_path)
    path.with_name("POSCAR").write_text("hello\nworld\n")
    assert "POSCAR: line 2 is '<text>'" in reject(path).detail


# --- objects of the Materials Project


def mp_object(**changes) -> bytes:
    data = {"total": {"data": TOTAL.tolist()}}
    document = {"data": {"poscar": {"structure": NACL.as_dict()}, "data": data}}
    document["data"] |= changes
    return json.dumps(document).encode()


DISORDERED = Structure(NACL.lattice, [{"Na": 0.5, "K": 0.5}, "Cl"], NACL.frac_coords)
FLAT = NACL.as_dict() | {"lattice": {"matrix": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}}
NAN = Structure(NACL.lattice, NACL.species, [[0, 0, 0], [0.5, 0.5, np.nan]]).as_dict()
MP_CASES = {
    "empty": (b"", Reason.EMPTY, "download it again"),
    "null": (b"null", Reason.NO_DENSITY, "null stands where the density should"),
    "null data": (b'{"data": null, "task_id": "mp-1"}', Reason.NO_DENSITY, "null stands where the density should"),
    "a list": (b"[1, 2]", Reason.UNREADABLE, "TypeError"),
    "cut": (mp_object()[:-99], Reason.UNREADABLE, "JSONDecodeError"),
    "no total": (mp_object(data={}), Reason.UNREADABLE, "KeyError"),
    "none": (mp_object(data={"total": None}), Reason.UNREADABLE, "expected one three-dimensional grid"),
    "flat list": (mp_object(data={"total": [8.0, 8.0]}), Reason.UNREADABLE, "expected one three-dimensional grid"),
    "ragged": (mp_object(data={"total": [[[1.0], [2.0, 3.0]]]}), Reason.UNREADABLE, "ValueError"),
    "no points": (mp_object(data={"total": [[[]]]}), Reason.NOT_FINITE, "0 of 0 values"),
    "nan": (mp_object(data={"total": [[[float("nan")]]]}), Reason.UNREADABLE, "JSONDecodeError"),  # NaN is no JSON
    "other grid": (
        mp_object(data={"total": [[[8.0]]], "diff": [[[1.0, 1.0]]]}),
        Reason.UNREADABLE,
        "expected one three",
    ),
    "disordered": (mp_object(poscar={"structure": DISORDERED.as_dict()}), Reason.UNREADABLE, "no density object"),
    "coordinate nan": (mp_object(poscar={"structure": NAN}), Reason.UNREADABLE, "JSONDecodeError"),
    "flat cell": (mp_object(poscar={"structure": FLAT}), Reason.BAD_STRUCTURE, "the cell has 0 A^3"),
    "wrong count": (mp_object(data={"total": [[[8.5]]]}), Reason.ELECTRON_COUNT, "8.5 electrons"),
}


@pytest.mark.parametrize("case", MP_CASES)
def test_bad_mp_object_is_rejected(tmp_path, case):
    content, reason, message = MP_CASES[case]
    path = tmp_path / "mp-1.json"
    path.write_bytes(content)
    error = reject(path)
    assert error.reason is reason, error.detail
    assert message in error.detail


# --- any other damage

EDITS = st.lists(
    st.tuples(st.integers(0, len(SPIN) - 1), st.integers(0, 3), st.binary(min_size=0, max_size=4)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(base=st.sampled_from([GOOD, SPIN, CHG_SPIN, chgcar_text(NACL, [TOTAL], symbols=False)]), edits=EDITS)
def test_damaged_file_is_read_or_rejected_and_nothing_else(tmp_path_factory, base, edits):
    content = bytearray(base)
    for place, length, new in edits:
        content[place % len(content) : place % len(content) + length] = new
    check_fuzzed(tmp_path_factory, bytes(content))


@settings(max_examples=200, deadline=None)
@given(
    place=st.integers(0, 400), new=st.sampled_from(list("0123456789.-+eEnN \n/#*_xST\x00")), cut=st.integers(0, 30)
)
def test_damaged_head_is_read_or_rejected_and_nothing_else(tmp_path_factory, place, new, cut):
    check_fuzzed(tmp_path_factory, GOOD[:place] + new.encode() + GOOD[place + cut :])


@settings(max_examples=50, deadline=None)
@given(place=st.integers(0, 900), byte=st.integers(0, 255), pack=st.sampled_from([gzip.compress, lzma.compress]))
def test_damaged_compressed_file_is_read_or_rejected_and_nothing_else(tmp_path_factory, place, byte, pack):
    packed = bytearray(pack(GOOD))
    packed[place % len(packed)] = byte
    check_fuzzed(tmp_path_factory, bytes(packed))


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 1200), new=st.sampled_from(['"', "]", "{", "null", "1e999", "NaN", "-", "Xx", "{}"]))
def test_damaged_mp_object_is_read_or_rejected_and_nothing_else(tmp_path_factory, place, new):
    content = json.dumps({"data": {"poscar": {"structure": NACL.as_dict()}, "data": {"total": [[[8.0, 8.0]]]}}})
    check_fuzzed(tmp_path_factory, (content[:place] + new + content[place + 1 :]).encode(), name="mp-1.json")


def check_fuzzed(tmp_path_factory, content: bytes, name: str = "CHGCAR") -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        read = read_density(path)
    except RejectedMaterialError:
        return
    assert np.isfinite(read.total).all()
    assert abs(read.electrons - round(read.electrons)) < 2e-3


@pytest.mark.parametrize("name", ["CHGCAR", "x.cube", "x.json"])
def test_link_to_a_private_file_gives_none_of_it_away(tmp_path, name):
    private = tmp_path / "settings.yaml"
    private.write_text("OTHER: secret-one\nPMG_MAPI_KEY: secret-two\nPASSWORD: secret-three 7\n" * 3)
    (tmp_path / name).symlink_to(private)
    detail = reject(tmp_path / name).detail
    assert not [word for word in ("secret", "MAPI", "PASS", "OTHER") if word in detail]
