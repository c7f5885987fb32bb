"""What the language model is asked: its role, some crystals with their values, then one crystal without.

The set-up is that of Massa et al. 2024 (arXiv 2401.09301v1, sec. 4.3): a role prompt, five examples of image, text
and value, then predictions. Their wording is unpublished; ours stands in `llm.role` and below. No material id is
sent.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.config import LanguageModelInContext
from rhoflow.dataset.load import View
from rhoflow.density.images import png_bytes
from rhoflow.errors import StudyError
from rhoflow.materials.ids import hash_integer
from rhoflow.properties import PROPERTIES, Property

Message = dict[str, Any]
DIGITS = 4  # of an example's value
ASKED = ("val", "test")


@dataclass(frozen=True)
class Question:
    """One call: the crystal whose value is asked for, and the body that is sent."""

    material_id: str
    body: dict[str, Any]


def write_questions(
    view: View, target: str, *, options: LanguageModelInContext, fold: int, seed: int
) -> list[Question]:
    """One question a crystal of the validation and the test part, in the order of their ids.

    Parameters
    ----------
    view : View
        With images and texts; the examples come from its training part.
    target : str
        Property key.

    Raises
    ------
    StudyError
        If the training part has fewer crystals than examples are wanted.
    """
    prop = PROPERTIES[target]
    opening: list[Message] = [{"role": "system", "content": _task(options.role, prop)}]
    for row in choose_examples(view, options.examples, fold=fold, seed=seed).tolist():
        opening += [_crystal(view, row, options.detail), {"role": "assistant", "content": _value(view.y[row], prop)}]
    fixed: dict[str, Any] = {"model": options.model, options.answer_limit: options.answer_tokens}
    if options.temperature is not None:
        fixed["temperature"] = options.temperature
    return [
        Question(str(view.ids[row]), {**fixed, "messages": [*opening, _crystal(view, row, options.detail)]})
        for row in np.flatnonzero(np.isin(view.part, ASKED)).tolist()
    ]


def choose_examples(view: View, n: int, *, fold: int, seed: int) -> NDArray[np.intp]:
    """Rows (n,) of the training part whose ids have the lowest hashes with fold and seed.

    Target and level play no part, so levels are compared on the same examples, and a new crystal replaces one
    example at most.
    """
    rows = view.rows("train")
    if len(rows) < n:
        raise StudyError(
            f"llm.examples = {n}: the training part of fold {fold} has {len(rows)} crystals; ask for fewer examples"
        )
    hashes = [hash_integer("in-context example", str(fold), str(seed), str(view.ids[row])) for row in rows]
    return rows[np.argsort(np.array(hashes, dtype=np.uint64), kind="stable")[:n]]


def _task(role: str, prop: Property) -> str:
    form = f"one number in {prop.unit}, followed by the unit," if prop.unit else "one number without a unit"
    return (
        f"{role}\nEstimate the {prop.label} of the last crystal. Answer with {form} and nothing else: no words,"
        " no range, no thousands separators."
    )


def _value(y: float, prop: Property) -> str:
    return f"{y:.{DIGITS}g} {prop.unit}".rstrip()


def _crystal(view: View, row: int, detail: str) -> Message:
    """Text and image of one crystal; the image is the one of slices/<shard>.png.zip."""
    assert view.texts is not None
    assert view.images is not None
    picture = base64.b64encode(png_bytes(view.images[row])).decode()
    image = {"url": f"data:image/png;base64,{picture}", "detail": detail}
    return {
        "role": "user",
        "content": [{"type": "text", "text": view.texts[row]}, {"type": "image_url", "image_url": image}],
    }
