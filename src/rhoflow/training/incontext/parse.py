"""A number with its unit out of a model's answer, or the reason why there is none; nothing is guessed."""

from __future__ import annotations

import math
import re
from enum import StrEnum

from rhoflow.properties import Property
from rhoflow.training.incontext.answers import Answer

LARGEST = 1e9  # in the house unit; no property comes near, and its square is still a number


class Failure(StrEnum):
    """Why an answer gives no prediction; counted in metrics.json."""

    EMPTY = "empty answer"
    REFUSED = "refused"
    CUT = "cut off at llm.answer_tokens"
    NO_NUMBER = "no number"
    SEVERAL = "several numbers"
    COMMA = "comma inside a number"
    BOUND = "a bound, not a value"
    UNIT = "no unit, or another one"
    TOO_LARGE = "not finite, or above 1e9"


# A number that touches no letter, digit, point or dash on its left: the digits of "Fe2", "B0" and "mp-72" are none.
# The power of ten may be written 1.2e3, 1.2x10^3 or 1.2 × 10^{3}.
_NUMBER = re.compile(
    r"(?<![\w.,^+\-−–])(?P<sign>[+\-−–]?)(?P<mantissa>(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?:[eE](?P<e>[+\-−]?[0-9]+)|\s*[x×·*]\s*10\^\{?(?P<ten>[+\-−]?[0-9]+)\}?)?(?![0-9])"
)
# What follows the number up to the end or the next blank; "eV per atom" counts as one word.
_UNIT = re.compile(r"\s*(?P<unit>[A-Za-zÅµμ°%][^\s,;:!?()\[\]*`$]*(?: per [A-Za-z]+)?)?")
_SPELLINGS = {"Å": "A", "³": "3", "^": "", "μ": "mu", "µ": "mu", " per ": "_", "/": "_", "mu_B": "muB"}
_DASHES = str.maketrans("−–", "--")
_AROUND = " .`$"  # may stand around a number that is alone


def parse_answer(answer: Answer, prop: Property) -> float | Failure:
    """Value in the house unit, or why there is none.

    The answer must hold one number, besides digits inside words, and behind it a unit of the property: any that a
    table's column may have, which is converted. An answer that is nothing but a number is in the house unit, which
    the question asked for.
    """
    text = answer.text.replace("**", "").strip()  # bold
    if answer.refused or answer.finish == "content_filter":
        return Failure.REFUSED
    if answer.finish == "length":
        return Failure.CUT
    if not text:
        return Failure.EMPTY
    if re.search(r"[0-9],[0-9]", text):
        return Failure.COMMA
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return Failure.SEVERAL if found else Failure.NO_NUMBER
    return _in_house_unit(text, found[0], prop)


def _in_house_unit(text: str, number: re.Match[str], prop: Property) -> float | Failure:
    before, after = text[: number.start()], text[number.end() :]
    if re.search(r"(?<![A-Za-z0-9^])[0-9]|±|\+/-", after):  # "100-120 GPa", "120 ± 10 GPa"
        return Failure.SEVERAL
    if re.search(r"[<>≤≥]\s*$", before):
        return Failure.BOUND
    factor = _factor(before, after, prop)
    if factor is None:
        return Failure.UNIT
    value = _float(number) * factor
    return value if math.isfinite(value) and abs(value) <= LARGEST else Failure.TOO_LARGE


def _factor(before: str, after: str, prop: Property) -> float | None:
    """Find what the number's unit is in the house unit; None where there is none or another."""
    match = _UNIT.match(after)
    assert match is not None
    unit = (match["unit"] or "").rstrip(".")
    if not unit:
        alone = not before.strip(_AROUND) and not after.strip(_AROUND)
        return 1.0 if alone or not prop.unit else None
    known = {_spell(name): factor for name, factor in {**prop.units, prop.unit: 1.0}.items() if name}
    return known.get(_spell(unit))


def _spell(unit: str) -> str:
    """One spelling of a unit: ``eV per atom`` and ``eV/atom`` are ``eV_atom``, ``Å³`` is ``A3``."""
    for old, new in _SPELLINGS.items():
        unit = unit.replace(old, new)
    return unit


def _float(number: re.Match[str]) -> float:
    plain = number["sign"].translate(_DASHES) + number["mantissa"]
    power = (number["e"] or number["ten"] or "0").translate(_DASHES)
    return float(f"{plain}e{power}")
