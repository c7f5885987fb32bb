"""The three levels of a text, against the published example and robocrystallographer's own sentences."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhoflow.text.levels import formula, keywords

# arXiv 2401.09301v1, Table 2 (mp-72), byte for byte; its text is in conftest.py.
KEYWORDS = "Ti. Both Ti(1)-Ti(1) bond lengths are 2.83 Å. All Ti(1)-Ti(2) bond lengths are 2.99 Å."

HEAD = "TiNiSn is half-Heusler structured and crystallizes in the cubic F-43m space group."
KEPT = (
    "The Ti(1)-Ni(1) bond length is 2.57 Å.",
    "Both Ti(1)-Sn(1,2) bond lengths are 2.96 Å.",
    "All Ni(1)-Sn(1) bond lengths are 10.00 Å.",
)
DROPPED = (
    "There are three shorter (2.64 Å) and two longer (2.83 Å) Ti(2)-Ti(2) bond lengths.",
    "There is one shorter (2.64 Å) and one longer (2.83 Å) Ti(2)-Sn(1) bond length.",
    "There are a spread of Ti(1)-Sn(1) bond distances ranging from 2.64-2.83 Å.",
    "The corner-sharing octahedral tilt angles are 12°.",
    "The structure consists of a TiNiSn framework.",
    "Ti occupies the Wyckoff position 4a.",
    "Sn(1) is bonded in a 10-coordinate geometry to six equivalent Ti(1) and four equivalent Ni(1) atoms.",
)


def test_keywords_of_the_published_example(published: str) -> None:
    assert keywords(published).encode() == KEYWORDS.encode()


def test_formula_of_the_published_example(published: str) -> None:
    assert formula(published) == "Ti"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group.", "NaCl"),
        ("La2(SO4)3 crystallizes in the monoclinic C2/c space group.", "La2(SO4)3"),
    ],
)
def test_formula_is_the_one_the_text_opens_with(text: str, expected: str) -> None:
    assert formula(text) == expected


@pytest.mark.parametrize("text", ["", "Hello.", "There are two crystallizes in a"])
def test_a_text_without_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must open with '<formula> is'"):
        formula(text)


def test_a_text_without_bond_lengths_gives_the_formula_alone() -> None:
    assert keywords(" ".join([HEAD, *DROPPED])) == "TiNiSn."


@given(st.lists(st.sampled_from(KEPT + DROPPED), max_size=12))
def test_keywords_are_the_kept_sentences_in_order(sentences: list[str]) -> None:
    expected = ["TiNiSn.", *(sentence for sentence in sentences if sentence in KEPT)]
    assert keywords(" ".join([HEAD, *sentences])) == " ".join(expected)


@pytest.mark.parametrize(
    ("distances", "kept"),
    [
        ([2.83], True),
        ([2.83, 2.831], True),
        ([2.83, 2.83, 2.83], True),
        ([2.64, 2.83], False),
        ([2.64, 2.64, 2.83, 2.83], False),
        ([2.64, 2.70, 2.83], False),
    ],
)
def test_sentences_that_robocrystallographer_writes(distances: list[float], kept: bool) -> None:
    """The table in rhoflow.text.levels is still that of the installed version, sentence by sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from robocrys import StructureDescriber
    describer = StructureDescriber()
    describer._da = SimpleNamespace(
        elements={0: "Ti", 1: "Ni"},
        sym_labels={0: "(1)", 1: "(2)"},
        get_sym_label=lambda sites: "(2)",
        get_distance_details=lambda one, others: distances,
    )
    sentence = describer.get_bond_length_description(0, [1])
    assert sentence.endswith(".")
    expected = f"TiNiSn. {sentence}" if kept else "TiNiSn."
    assert keywords(f"{HEAD} {sentence}") == expected
