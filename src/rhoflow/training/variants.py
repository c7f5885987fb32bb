"""What a variant of a model changes, in its data or in the weights it starts from; everything else is its base's.

Parts never mix: a learning curve leaves out training materials alone, and a control deals inputs out anew within the
training, the validation and the test part. Targets stay where they are. What is chosen and dealt out follows from ids
and names, so it is the same for every model, in any process.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.config import Study
from rhoflow.dataset.load import View
from rhoflow.dataset.names import PARTS
from rhoflow.errors import StudyError
from rhoflow.materials.ids import hash_integer
from rhoflow.training.evaluate import RunKey
from rhoflow.training.names import RANDOM, SIDE, base_of, fraction_of, shuffled_input

PICTURES = ("images", "side", "periods")  # what of a view belongs to the image
LEAST = 2  # training materials of a learning curve's point


def changed_study(study: Study, model: str) -> Study:
    """Study that a series of networks is trained with: random weights for a twin, side inputs for another variant."""
    variant = base_of(model)[1]
    if variant == SIDE:
        return study.model_copy(update={"image": study.image.model_copy(update={"side_inputs": True})})
    if variant != RANDOM:
        return study
    untrained = {"weights": RANDOM}  # the variant is named as such weights are in every section
    sections = {name: section for name, section in study if hasattr(section, "weights")}
    return study.model_copy(update={name: one.model_copy(update=untrained) for name, one in sections.items()})


def changed_view(view: View, key: RunKey) -> View:
    """Return what a run sees of its base's data: fewer training materials, inputs of others, or all as it is.

    Raises
    ------
    StudyError
        If a share leaves fewer than two training materials.
    """
    share, shuffled = fraction_of(key.variant), shuffled_input(key.variant)
    if share is not None:
        return take_rows(view, fraction_rows(view, share, key))
    if shuffled == "image":
        giver = shuffled_rows(view, key)
        pictures = {name: _taken(getattr(view, name), giver) for name in PICTURES}
        return replace(view, **pictures)
    if shuffled == "text":
        return replace(view, texts=_taken(view.texts, shuffled_rows(view, key)))
    return view


def fraction_rows(view: View, share: int, key: RunKey) -> NDArray[np.intp]:
    """Rows (ascending) of a learning curve's point: `share` percent of the training part, all of the other parts.

    The training materials come in an order by a hash of fold and id, the first of which stay: a smaller share is part
    of a larger one, for every model, seed and target the same.
    """
    train = _by_hash(view, view.rows("train"), "fraction", key.fold)
    n = round(len(train) * share / 100)
    if n < LEAST:
        raise StudyError(
            f"ablation.fractions: {share} % of {len(train)} training materials are {n} ({key.name}), at least {LEAST}"
            " are needed; take that share out, or add materials"
        )
    return np.sort(np.concatenate([train[:n], np.flatnonzero(view.part != "train")]))


def shuffled_rows(view: View, key: RunKey) -> NDArray[np.intp]:
    """Row (n,) that each material gets its input from: another one of its part, dealt out by fold, seed and ids.

    A part's materials stand in a circle, in an order by a hash, and each takes the input of the one before it: a
    permutation of the part in which nobody keeps what is his.
    """
    giver = np.arange(len(view.ids))
    for part in PARTS:
        circle = _by_hash(view, view.rows(part), key.variant, key.fold, key.seed)
        giver[circle] = np.roll(circle, 1)
    return giver


def take_rows(view: View, rows: NDArray[np.intp]) -> View:
    """Materials of a view by row number."""
    return View(**{field.name: _taken(getattr(view, field.name), rows) for field in fields(View)})


def with_images_of(view: View, pictures: View) -> View:
    """Put the images and side values of one view beside the texts of another, for the materials of both."""
    if not np.array_equal(view.ids, pictures.ids):
        view = take_rows(view, np.flatnonzero(np.isin(view.ids, pictures.ids)))
        pictures = take_rows(pictures, np.flatnonzero(np.isin(pictures.ids, view.ids)))
    return replace(view, **{name: getattr(pictures, name) for name in PICTURES})


def _by_hash(view: View, rows: NDArray[np.intp], *purpose: object) -> NDArray[np.intp]:
    """Rows in an order that follows from the ids alone."""
    return np.array(sorted(rows, key=lambda row: hash_integer(*map(str, purpose), str(view.ids[row]))), dtype=np.intp)


def _taken(values: Any, rows: NDArray[np.intp]) -> Any:
    if isinstance(values, tuple):
        return tuple(values[row] for row in rows)
    return None if values is None else values[rows]
