"""Reading an answer: the number and unit that stand there, or the reason why not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoflow.properties import PROPERTIES
from rhoflow.training.incontext.answers import Answer
from rhoflow.training.incontext.parse import LARGEST, Failure, parse_answer

K, ENERGY, NU = "k_vrh", "formation_energy_per_atom", "homogeneous_poisson"
READ = [
    (K, "120 GPa", 120.0),
    (K, " 120.5GPa.\n", 120.5),
    (K, "**120 GPa**", 120.0),
    (K, "The bulk modulus of Fe2VAl10 (mp-72) is about 120 GPa.", 120.0),
    (K, "120", 120.0),
    (K, "1.2 Mbar", 120.0),
    (K, "1200 kbar", 120.0),
    (K, "1.2e2 GPa", 120.0),
    (K, "1.2 x 10^2 GPa", 120.0),
    (K, "1.2×10^{2} GPa", 120.0),
    (ENERGY, "-1.25 eV/atom", -1.25),
    (ENERGY, "−1.25 eV per atom", -1.25),
    (ENERGY, "E = –1250 meV/atom", -1.25),
    ("volume", "12.5 A^3", 12.5),
    ("volume", "12.5 Å³", 12.5),
    ("total_magnetization", "2 μB", 2.0),
    ("density", "7.8 g/cm^3", 7.8),
    (NU, "Poisson ratio: 0.33.", 0.33),
]
FAILED = [
    (K, "", Failure.EMPTY),
    (K, " \n", Failure.EMPTY),
    (K, "I'm sorry, but I can't estimate that.", Failure.NO_NUMBER),
    (K, "NaN GPa", Failure.NO_NUMBER),
    (K, "a hundred GPa", Failure.NO_NUMBER),
    (K, "Fe2VAl", Failure.NO_NUMBER),
    (K, "120 psi", Failure.UNIT),
    (K, "120 GPa/atom", Failure.UNIT),
    (K, "K = 120", Failure.UNIT),
    (ENERGY, "-120 kJ/mol", Failure.UNIT),
    (NU, "0.33 GPa", Failure.UNIT),
    (K, "100-120 GPa", Failure.SEVERAL),
    (K, "100–120 GPa", Failure.SEVERAL),
    (K, "between 100 and 120 GPa", Failure.SEVERAL),
    (K, "120 ± 10 GPa", Failure.SEVERAL),
    (K, "120 GPa (1.2 Mbar)", Failure.SEVERAL),
    (K, "5 x 100 GPa", Failure.SEVERAL),
    (K, "1 200 GPa", Failure.SEVERAL),
    (K, "1,200 GPa", Failure.COMMA),
    (K, "120,5 GPa", Failure.COMMA),
    (K, "> 120 GPa", Failure.BOUND),
    (K, "1e999 GPa", Failure.TOO_LARGE),
    (K, "-1e10 GPa", Failure.TOO_LARGE),
    (K, "9" * 5000, Failure.TOO_LARGE),
]


@pytest.mark.parametrize(("target", "text", "value"), READ, ids=[text for _, text, _ in READ])
def test_value_is_read_in_the_house_unit(target: str, text: str, value: float) -> None:
    assert parse_answer(Answer(text=text), PROPERTIES[target]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("target", "text", "failure"), FAILED, ids=[repr(text[:40]) for _, text, _ in FAILED])
def test_answer_without_one_clear_value_fails_with_its_reason(target: str, text: str, failure: Failure) -> None:
    assert parse_answer(Answer(text=text), PROPERTIES[target]) is failure


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(text="12", finish="length"), Failure.CUT),  # perhaps of 120 GPa
        (Answer(text="120 GPa", finish="content_filter"), Failure.REFUSED),
        (Answer(refused=True), Failure.REFUSED),
    ],
    ids=["cut", "filtered", "refused"],
)
def test_answer_that_did_not_end_well_is_none(answer: Answer, failure: Failure) -> None:
    assert parse_answer(answer, PROPERTIES[K]) is failure


@pytest.mark.parametrize("key", PROPERTIES)
@settings(max_examples=15)
@given(value=st.floats(-1e6, 1e6))
def test_examples_own_form_is_read_back(key: str, value: float) -> None:
    prop = PROPERTIES[key]
    assert parse_answer(Answer(text=f"{value:.4g} {prop.unit}"), prop) == float(f"{value:.4g}")


@given(st.text(alphabet="0123456789.,eE+-−–×x*^{}[]()<>=~± \nGPaMbr/", max_size=40))
def test_any_answer_gives_a_bounded_number_or_a_failure(text: str) -> None:
    value = parse_answer(Answer(text=text), PROPERTIES[K])
    assert isinstance(value, Failure) or abs(value) <= LARGEST
