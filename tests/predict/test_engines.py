"""What electron counts and cores tell of the engine, on made-up and on real densities."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from rhoflow.density.read import read_density
from rhoflow.density.regrid import regrid
from rhoflow.predict.card import Seen
from rhoflow.predict.engines import ElectronCounts, Peaks

ATOL = 1e-6  # electrons
RTOL = 1e-9


def seen(*crystals: tuple[str, float, float]) -> tuple[Seen, ...]:
    return tuple(Seen(formula=formula, electrons=count, maximum=peak) for formula, count, peak in crystals)


def test_count_of_a_new_composition_follows_from_compounds() -> None:
    # Na 7, Cl 7, K 9, F 7: no element stands alone, and NaF is NaCl + KF - KCl
    counts = ElectronCounts(seen(("NaCl", 14, 1), ("KCl", 16, 1), ("KF", 16, 1)))
    assert counts.expected({"Na": 4.0, "F": 4.0}) == pytest.approx(56, abs=ATOL)


def test_count_that_the_training_set_leaves_open_is_not_invented() -> None:
    counts = ElectronCounts(seen(("NaCl", 14, 1), ("K", 9, 1)))
    assert counts.expected({"Na": 2.0, "Cl": 1.0}) is None
    assert counts.expected({"Na": 1.0, "Cl": 1.0, "K": 1.0}) == pytest.approx(23, abs=ATOL)


def test_memory_grows_with_the_training_crystals_not_with_their_square() -> None:
    many = seen(*((f"Na{k % 7 + 1}Cl{k % 5 + 1}", 7.0 * (k % 7 + k % 5 + 2), 1.0) for k in range(2000)))
    tracemalloc.start()
    counts = ElectronCounts(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.expected({"Na": 1.0, "Cl": 1.0}) == pytest.approx(14, abs=ATOL)
    assert peak < 8 * 2000**2 / 4


def test_mixed_potentials_are_noticed() -> None:
    counts = ElectronCounts(seen(("Li", 1, 1), ("Li2", 6, 1)))
    assert counts.misfit > 0.05
    assert counts.expected({"Li": 1.0}) is None


def test_core_is_known_where_no_other_element_can_be_that_high() -> None:
    # In AlP only P can have 4 (Al: at most 1); in AlN N has 6; so GaN may have 6, and Ga at most that.
    peaks = Peaks(seen(("Al", 3, 1.0), ("AlP", 8, 4.0), ("AlN", 8, 6.0), ("GaN", 8, 6.2)))
    assert peaks.expected(["Al"]) == (pytest.approx(1 / 1.5, rel=RTOL), pytest.approx(1.5, rel=RTOL))
    assert peaks.expected(["Al", "P"]) == (pytest.approx(4 / 1.5, rel=RTOL), pytest.approx(6.0, rel=RTOL))
    assert peaks.expected(["Ga"]) == (0.0, pytest.approx(6.2 * 1.5, rel=RTOL))


@pytest.fixture(scope="module")
def demo_seen(demo: Path) -> tuple[Seen, ...]:
    names = (
        "Al_fcc",
        "Si_diamond",
        "NaCl_rocksalt",
        "KBr_rocksalt",
        "LiF_rocksalt",
        "AlP_zincblende",
        "LiCl_rocksalt",
    )
    return tuple(_seen(path) for name in names for path in (demo / name).glob("CHGCAR.xz"))


def _seen(path: Path) -> Seen:
    density = read_density(path)
    composition = density.structure.composition
    units = composition.num_atoms / composition.reduced_composition.num_atoms
    peak = float(regrid(density.total, (60, 60, 60)).max())
    return Seen(formula=composition.reduced_formula, electrons=density.electrons / units, maximum=peak)


@pytest.mark.parametrize("file", ["Al.CHGCAR.gz", "Si_static.CHGCAR.gz", "NaCl.CHGCAR.gz"])
def test_vasp_densities_are_told_from_those_of_the_demo(
    file: str, demo_seen: tuple[Seen, ...], shared_data: Path
) -> None:
    vasp = _seen(shared_data / "chgcar" / file)
    (ours,) = (one for one in demo_seen if one.formula == vasp.formula)
    low, high = Peaks(demo_seen).expected(elements(vasp))
    assert not low <= vasp.maximum <= high
    assert low <= ours.maximum <= high


def elements(one: Seen) -> list[str]:
    return {"NaCl": ["Na", "Cl"]}.get(one.formula, [one.formula])
