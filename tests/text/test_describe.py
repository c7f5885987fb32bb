"""Descriptions: the words of stock robocrystallographer, whatever the cell, offline and in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from rhoflow.text.describe import Describer, fallback_text, settle_order, standard_cell

Stock = Callable[[Structure], str]


@pytest.mark.parametrize("name", ["NaCl", "TiNiSn"])
def test_warm_words_are_stock_words(
    name: str, crystals: dict[str, Structure], describer: Describer, stock: Stock
) -> None:
    description = describer.describe(crystals[name])
    assert (description.origin, description.note) == ("robocrystallographer", None)
    assert description.text == settle_order(stock(crystals[name]))


def test_published_example_is_reproduced(
    crystals: dict[str, Structure], describer: Describer, published: str
) -> None:
    """Table 2 of arXiv 2401.09301v1, though our cell lists its sites the other way round."""
    assert describer.describe(crystals["omega-Ti"]).text.encode() == published.encode()


def _other_cells(structure: Structure) -> dict[str, Structure]:
    rng = np.random.default_rng(7)
    primitive = structure.get_primitive_structure()
    supercell = primitive * [[2, 0, 0], [0, 1, 0], [0, 1, 2]]
    moved = supercell.copy()
    moved.translate_sites(range(len(moved)), rng.random(3))
    moved.apply_operation(SymmOp.from_axis_angle_and_translation(rng.random(3), 77.0))
    moved = Structure.from_sites([moved[i] for i in rng.permutation(len(moved))])
    return {"primitive": primitive, "supercell": supercell, "moved, rotated, shuffled": moved}


@pytest.mark.parametrize("cell", ["primitive", "supercell", "moved, rotated, shuffled"])
@pytest.mark.parametrize("name", ["NaCl", "TiNiSn", "omega-Ti"])
def test_words_do_not_depend_on_the_cell(
    name: str, cell: str, crystals: dict[str, Structure], describer: Describer
) -> None:
    # NaCl's bond is 2.845 A, where the second decimal hangs on the last bit of the arithmetic.
    expected = describer.describe(crystals[name])
    assert describer.describe(_other_cells(crystals[name])[cell]) == expected


def test_standard_cell_keeps_the_crystal(crystals: dict[str, Structure]) -> None:
    for structure in crystals.values():
        assert standard_cell(structure).matches(structure, stol=1e-4, ltol=1e-4, angle_tol=1e-3)


def test_structure_is_not_changed(crystals: dict[str, Structure], describer: Describer) -> None:
    structure = crystals["NaCl"].copy(site_properties={"magmom": [1.0] * 8})
    before = structure.as_dict()
    assert describer.describe(structure) == describer.describe(crystals["NaCl"])
    assert structure.as_dict() == before


def test_no_time_leads_to_the_fallback_text_and_leaves_nothing_behind(
    crystals: dict[str, Structure], describer: Describer
) -> None:
    hasty = Describer(timeout_s=0.03)
    description = hasty.describe(crystals["ZnS"])
    assert (description.origin, description.note) == ("fallback", "no description within 0.03 s")
    assert description.text == fallback_text(crystals["ZnS"])
    hasty.timeout_s = 300.0
    assert hasty.describe(crystals["ZnS"]) == describer.describe(crystals["ZnS"])


def test_an_alarm_of_somebody_else_goes_on(crystals: dict[str, Structure], describer: Describer) -> None:
    ours, handler = signal.setitimer(signal.ITIMER_REAL, 500.0), signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    try:
        describer.describe(crystals["NaCl"])
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert left == pytest.approx(500.0 - (time.monotonic() - start), abs=0.5)
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, *ours)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_time_limit_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match=r"timeout_s = .*must be above 0 s"):
        Describer(timeout_s)


def test_whatever_robocrystallographer_raises_leads_to_the_fallback_text(
    crystals: dict[str, Structure], describer: Describer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(structure: Structure) -> str:
        raise KeyError("traditional")

    monkeypatch.setattr(describer._robocrys, "describe", refuse)
    description = describer.describe(crystals["NaCl"])
    assert (description.origin, description.note) == ("fallback", "KeyError: 'traditional'")


def test_fallback_text_says_formula_space_group_and_sites(crystals: dict[str, Structure]) -> None:
    expected = (
        "TiNiSn crystallizes in the cubic F-43m space group. Sn sits on 4 sites of symmetry -43m."
        " Ti sits on 4 sites of symmetry -43m. Ni sits on 4 sites of symmetry -43m."
    )
    for cell in _other_cells(crystals["TiNiSn"]).values():
        assert fallback_text(cell) == expected


def test_a_disordered_crystal_has_a_fallback_text(describer: Describer) -> None:
    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    description = describer.describe(alloy)
    assert description.origin == "fallback"
    assert description.note
    assert description.text == "Cu0.5Au0.5 crystallizes in an unknown space group."


def test_nothing_goes_online(
    crystals: dict[str, Structure], describer: Describer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where openbabel would turn dry ice's molecules into SMILES that no table holds."""
    from robocrys.condense.molecule import MoleculeNamer

    def no_network(*args: object, **kwargs: object) -> None:
        raise AssertionError("went online")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, no_network)
    monkeypatch.setattr(MoleculeNamer, "molecule_graph_to_smiles", staticmethod(lambda graph: "no such molecule"))
    description = describer.describe(crystals["dry ice"])
    assert (description.origin, description.note) == ("robocrystallographer", None)
    with pytest.raises(AssertionError, match="went online"):  # what stock robocrystallographer does
        MoleculeNamer().get_name_from_molecule_graph(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a mixture of edge and corner-sharing NaCl6", "a mixture of corner and edge-sharing NaCl6"),
        ("a mixture of edge, face, and corner-sharing X", "a mixture of corner, edge, and face-sharing X"),
        (
            "a mixture of distorted face, corner, and edge-sharing X",
            "a mixture of distorted corner, edge, and face-sharing X",
        ),
        ("to form corner-sharing ZnS4 tetrahedra", "to form corner-sharing ZnS4 tetrahedra"),
        (
            "two X ribbons oriented in the (1, 0, 0) and (0, 1, 0) directions.",
            "two X ribbons oriented in the (0, 1, 0) and (1, 0, 0) directions.",
        ),
        (
            "oriented in the (1, 0, 0); (0, 1, 0); and (0, 0, 1) directions",
            "oriented in the (0, 0, 1); (0, 1, 0); and (1, 0, 0) directions",
        ),
        ("one sheet oriented in the (0, 0, 1) direction", "one sheet oriented in the (0, 0, 1) direction"),
    ],
)
def test_lists_that_hang_on_the_hash_seed_are_sorted(text: str, expected: str) -> None:
    assert settle_order(text) == expected


def test_importing_the_room_does_not_import_robocrystallographer(project: Path) -> None:
    code = "import sys, rhoflow.text.shards, rhoflow.text.levels; assert 'robocrys' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=project)


@pytest.mark.slow
def test_words_do_not_depend_on_the_hash_seed(crystals: dict[str, Structure], tmp_path: Path) -> None:
    crystals["NaCl"].to(filename=str(tmp_path / "NaCl.cif"))
    code = (
        "import sys; from pymatgen.core import Structure; from rhoflow.text.describe import Describer;"
        "print(Describer(300.0).describe(Structure.from_file(sys.argv[1])).text)"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "NaCl.cif")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(texts) == 1


@pytest.mark.slow
def test_warm_words_are_stock_words_on_demo_crystals(demo: Path, describer: Describer, stock: Stock) -> None:
    paths = sorted(demo.glob("*/structure.cif"))
    assert len(paths) >= 100
    for path in paths[::4]:
        structure = Structure.from_file(path)
        assert describer.describe(structure).text == settle_order(stock(standard_cell(structure))), path
