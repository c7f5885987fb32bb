"""The three levels of a description that the papers compare: formula, keywords, all.

Robocrystallographer (0.2.13, ``StructureDescriber.get_bond_length_description``) has five sentences on bond lengths.
A and B are elements with their labels, e.g. ``Ti(1)``, or, in texts of the Materials Project, with their charge,
``Cl1-``; the dash between them may be a long one there:

=========================================================================================  ========
sentence                                                                                   keyword?
=========================================================================================  ========
The A-B bond length is 2.83 Å.                                                             yes
Both A-B bond lengths are 2.83 Å.                                                          yes
All A-B bond lengths are 2.83 Å.                                                           yes
There is/are three shorter (2.64 Å) and two longer (2.83 Å) A-B bond length(s).            no
There are a spread of A-B bond distances ranging from 2.64-2.83 Å.                         no
=========================================================================================  ========

The papers publish one example (mp-72, in arXiv 2401.09301v1) and no rule. In it "All ..." and "Both ..." are
keywords and "There are three shorter ..." is not. So a keyword is a sentence that gives one length for all bonds of a
pair; the spread, which the example lacks, goes with the other "There ..." sentence.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"(\S+) (?:is|crystallizes) ")
# The whole sentence is the pattern, so the points in "2.83 Å." or "(Z) 0.5 Å" never need splitting.
_KEYWORD = re.compile(r"(?<!\S)(?:The|Both|All) \S+[-–]\S+ bond lengths? (?:is|are) \d+\.\d+ Å\.(?!\S)")


def formula(text: str) -> str:
    """Read the formula that a description opens with, e.g. ``NaCl`` or ``TiNiSn``.

    Robocrystallographer writes the elements in their usual order where the compound is in its table of 100,000
    formulas, else the reduced formula of the components. Reading it from the text keeps the three levels at one.

    Raises
    ------
    ValueError
        If the text does not open with ``<formula> is ...`` or ``<formula> crystallizes ...``.
    """
    opening = _OPENING.match(text)
    if opening is None:
        raise ValueError(
            f"description {text[:60]!r}: must open with '<formula> is' or '<formula> crystallizes', as the texts of"
            " rhoflow.text.describe do; describe the structure again"
        )
    return opening[1]


def keywords(text: str) -> str:
    """Pick the formula and the sentences that give one length for all bonds of a pair, whole and in order.

    ``Ti. Both Ti(1)-Ti(1) bond lengths are 2.83 Å. ...``; a text without such a sentence gives ``Ti.``.
    """
    return " ".join([f"{formula(text)}.", *_KEYWORD.findall(text)])
