"""The inner folds of a search: the training part of a fold, split again. What else the fold holds is left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rhoflow.dataset.load import View
from rhoflow.errors import StudyError
from rhoflow.materials.ids import hash_integer
from rhoflow.training.variants import take_rows


def inner_folds(view: View, groups: Mapping[str, str], n_folds: int) -> list[View]:
    """Split the training part of a view.

    Groups are sorted by a stable hash of their names and dealt out in turn, so inner folds have nearly equal numbers
    of groups. Validation and test materials of `view` are in none of the folds.

    Parameters
    ----------
    groups : mapping of str to str
        Group of each material by id; its members stay together, as in the study's own split.
    n_folds : int
        Number of inner folds.

    Returns
    -------
    list of View
        In the j-th, the materials of inner fold j validate and the others train.

    Raises
    ------
    StudyError
        If there are fewer groups than folds, or a fold leaves fewer than two materials to train.
    """
    training = take_rows(view, view.rows("train"))
    names = sorted(
        {groups[key] for key in training.ids.tolist()}, key=lambda name: (hash_integer("inner", name), name)
    )
    fold_of = {name: place % n_folds for place, name in enumerate(names)}
    fold = np.array([fold_of[groups[key]] for key in training.ids.tolist()], dtype=int)
    counts = np.bincount(fold, minlength=n_folds)
    if counts.min() == 0 or len(fold) - counts.max() < 2:
        raise StudyError(
            f"search.inner_folds = {n_folds}: the training part has {len(fold)} materials in {len(names)} groups,"
            " which cannot fill so many inner folds; lower search.inner_folds, or add materials"
        )
    return [replace(training, part=np.where(fold == one, "val", "train")) for one in range(n_folds)]
