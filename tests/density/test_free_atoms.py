"""The table of free atoms: analytic hydrogen, normalisation, its tail, its origin."""

from __future__ import annotations

import numpy as np
import pytest

from rhoflow.density.free_atoms import CORE_RADIUS, form_factor, occupied_shells, smooth_form_factor
from rhoflow.errors import Reason, RejectedMaterialError

BOHR = 0.529177210544  # A
# PBE's hydrogen is not the exact one: without spin its self-interaction makes it wider
HYDROGEN_ATOL = 0.05
SCREENED_ATOL = 0.012  # Slater's screening constant is a rule of thumb
ROUNDING = 1e-7  # single precision of the table


def hydrogen_like(q, charge) -> np.ndarray:
    """Form factor of one 1s electron around a point charge: (1 + (q a0 / 2 Z)^2)^-2."""
    return (1 + (q * BOHR / (2 * charge)) ** 2) ** -2


def test_hydrogen_is_close_to_the_exact_atom():
    q = np.linspace(0, 80, 401)
    np.testing.assert_allclose(form_factor("H", {"1s": 1.0})(q), hydrogen_like(q, 1), rtol=0, atol=HYDROGEN_ATOL)


@pytest.mark.parametrize(("element", "number"), [("F", 9), ("Ne", 10)])
def test_core_shell_is_hydrogen_like(element, number):
    q = np.linspace(0, 80, 401)
    f = form_factor(element, {"1s": 2.0})(q)
    np.testing.assert_allclose(f, 2 * hydrogen_like(q, number - 0.3), rtol=0, atol=2 * SCREENED_ATOL)


def test_core_shell_falls_with_the_fourth_power():
    f = form_factor("F", {"1s": 2.0})
    assert float(f(np.array([160.0]))[0] / f(np.array([80.0]))[0]) == pytest.approx(1 / 16, rel=1e-12)
    exact = hydrogen_like(160.0, 8.7) / hydrogen_like(80.0, 8.7)
    assert exact == pytest.approx(1 / 16, rel=0.4)  # 80 / A is not yet far outside for F 1s


def test_shells_add_up_and_start_at_their_electrons():
    q = np.linspace(0, 90, 301)
    both = form_factor("Ti", {"3d": 2.0, "4s": 2.0})(q)
    np.testing.assert_allclose(
        both, form_factor("Ti", {"3d": 2.0})(q) + form_factor("Ti", {"4s": 2.0})(q), rtol=0, atol=1e-12
    )
    assert both[0] == pytest.approx(4, abs=4 * ROUNDING)


def test_spline_passes_through_the_table_and_is_even(project):
    with np.load(project / "src/rhoflow/density/form_factors.npz", allow_pickle=False) as file:
        row = int(np.flatnonzero((file["element"] == "Cs") & (file["shell"] == "6s"))[0])
        q, f = file["q_inv_A"], file["f"][row].astype(float)
    found = form_factor("Cs", {"6s": 1.0})
    np.testing.assert_allclose(found(q), f, rtol=0, atol=1e-12)
    # the widest shell is the hardest: half way between wave numbers against a fit of even powers
    near = q[:8]
    even = np.polynomial.Polynomial.fit(near**2, f[:8], 5)
    middle = (near[1:5] + near[:4]) / 2
    np.testing.assert_allclose(found(middle), even(middle**2), rtol=0, atol=2e-5)


ATOMS = [("Si", {"3s": 2.0, "3p": 2.0}), ("Li", {"1s": 2.0, "2s": 1.0}), ("H", {"1s": 1.0})]


def taken_away(element, shells, r) -> np.ndarray:
    """Density [e/A^3] at radii r [A] that a smooth core has less than the atom; sharp to about 0.02 A."""
    q = np.arange(0, 160, 0.02)
    waves = form_factor(element, shells)(q) - smooth_form_factor(element, shells)(q)
    waves *= np.exp(-10 * (q / 160) ** 6) * q**2
    return np.array([np.trapezoid(waves * np.sinc(q * x / np.pi), q) for x in r]) / (2 * np.pi**2)


@pytest.mark.parametrize(("element", "shells"), ATOMS, ids=["Si", "Li", "H"])
def test_smooth_core_changes_only_the_core(element, shells):
    outside = np.linspace(CORE_RADIUS + 0.1, 3, 30)
    cusp = taken_away(element, shells, [0.0])[0]
    assert cusp > 0.5  # e/A^3
    np.testing.assert_allclose(taken_away(element, shells, outside), 0, rtol=0, atol=1e-4 * cusp)
    zero = np.zeros(1)
    assert smooth_form_factor(element, shells)(zero)[0] == pytest.approx(
        form_factor(element, shells)(zero)[0], abs=1e-9
    )


@pytest.mark.parametrize(("element", "shells"), ATOMS, ids=["Si", "Li", "H"])
def test_smooth_core_keeps_value_and_slope_at_its_edge(element, shells):
    far, near = taken_away(element, shells, CORE_RADIUS - np.array([0.05, 0.025]))
    assert 0.2 < near / far < 0.35  # the square of the distance: 1/4; a jump of the slope alone: 1/2


def test_neutral_atoms_hold_their_electrons_down_to_a_closed_core():
    assert occupied_shells("Fe") == {"4s": 2.0, "3d": 6.0, "3s": 2.0, "3p": 6.0}
    assert sum(occupied_shells("U").values()) == 14


@pytest.mark.parametrize("element", ["Bk", "Og"])
def test_missing_element_is_named(element):
    with pytest.raises(RejectedMaterialError, match=rf"no free atom of {element} .* from H to Cm") as caught:
        occupied_shells(element)
    assert caught.value.reason is Reason.NO_FREE_ATOM


def test_table_holds_the_published_one(shared_data, project):
    with (
        np.load(shared_data / "dft/form_factors.npz", allow_pickle=False) as theirs,
        np.load(project / "src/rhoflow/density/form_factors.npz", allow_pickle=False) as ours,
    ):
        rows = {key: k for k, key in enumerate(zip(ours["element"], ours["shell"], strict=True))}
        order = [rows[key] for key in zip(theirs["element"], theirs["shell"], strict=True)]
        np.testing.assert_allclose(ours["f"][order], theirs["f"], rtol=0, atol=1e-6)
        assert np.array_equal(ours["occupation"][order], theirs["occupation"])
        assert np.array_equal(ours["q_inv_A"], theirs["q_inv_A"])
        assert set(ours["origin"][order]) == {"paw"}
