import dataclasses

import numpy as np
import pytest
import tiny

from rhoflow.errors import StudyError
from rhoflow.training.search.inner import inner_folds

DATA = tiny.tiny_data(n=40)
ALONE = {name: name for name in DATA.ids.tolist()}
PAIRS = {name: f"group {row // 2}" for row, name in enumerate(DATA.ids.tolist())}


def _ids(view, part):
    return set(view.ids[view.rows(part)].tolist())


def test_every_training_material_validates_once_and_trains_in_the_other_folds():
    folds = inner_folds(DATA, ALONE, 3)
    validating = [name for fold in folds for name in sorted(_ids(fold, "val"))]
    assert sorted(validating) == sorted(_ids(DATA, "train"))
    assert all(_ids(fold, "train") == _ids(DATA, "train") - _ids(fold, "val") for fold in folds)


def test_no_validation_or_test_material_is_in_an_inner_fold():
    outside = _ids(DATA, "val") | _ids(DATA, "test")
    assert outside
    assert not any(outside & set(fold.ids.tolist()) for fold in inner_folds(DATA, ALONE, 3))


def test_values_and_inputs_stay_with_their_material():
    rows = {name: row for row, name in enumerate(DATA.ids.tolist())}
    for fold in inner_folds(DATA, ALONE, 2):
        own = [rows[name] for name in fold.ids.tolist()]
        assert np.array_equal(fold.y, DATA.y[own])
        assert np.array_equal(fold.images, DATA.images[own])
        assert fold.texts == tuple(DATA.texts[row] for row in own)


def test_groups_never_straddle_inner_folds():
    for fold in inner_folds(DATA, PAIRS, 3):
        assert not {PAIRS[name] for name in _ids(fold, "train")} & {PAIRS[name] for name in _ids(fold, "val")}


@pytest.mark.parametrize("n_folds", [2, 3, 4])
def test_inner_folds_differ_by_one_group_at_most(n_folds):
    sizes = [len(_ids(fold, "val")) for fold in inner_folds(DATA, ALONE, n_folds)]
    assert max(sizes) - min(sizes) <= 1


def test_order_of_the_materials_changes_no_inner_fold():
    back = np.arange(len(DATA.ids))[::-1]
    turned = dataclasses.replace(
        DATA,
        ids=DATA.ids[back],
        part=DATA.part[back],
        y=DATA.y[back],
        images=DATA.images[back],
        texts=tuple(DATA.texts[row] for row in back),
    )
    pairs = zip(inner_folds(DATA, ALONE, 3), inner_folds(turned, ALONE, 3), strict=True)
    assert all(_ids(one, "val") == _ids(other, "val") for one, other in pairs)


def test_too_many_inner_folds_say_what_to_do():
    n = len(DATA.rows("train"))
    with pytest.raises(
        StudyError, match=rf"search.inner_folds = {n + 1}: the training part has {n} materials in {n}"
    ):
        inner_folds(DATA, ALONE, n + 1)
    with pytest.raises(StudyError, match=r"in 1 groups, which cannot fill .* lower search.inner_folds"):
        inner_folds(DATA, dict.fromkeys(ALONE, "one"), 2)
