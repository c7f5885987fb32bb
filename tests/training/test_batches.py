import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rhoflow.models.inputs import ArrayInputs
from rhoflow.training.batches import EVAL_BATCH, EvenBatches, in_order, loader

sizes = {"n": st.integers(2, 200), "size": st.integers(2, 40)}


@given(**sizes)
def test_every_material_comes_once_an_epoch(n, size):
    batches = list(EvenBatches(range(100, 100 + n), size, seed=lambda epoch: epoch))
    assert sorted(row for batch in batches for row in batch) == list(range(100, 100 + n))


@given(**sizes)
def test_batches_are_even_and_never_of_one(n, size):
    batches = EvenBatches(range(n), size, seed=lambda epoch: epoch)
    lengths = [len(batch) for batch in batches]
    assert len(batches) == len(lengths)
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 2
    assert max(lengths) <= max(size, 3)


def test_order_changes_with_the_epoch_and_only_with_it():
    batches = EvenBatches(range(40), 8, seed=lambda epoch: 1000 + epoch)
    first, again = list(batches), list(batches)
    batches.set_epoch(1)
    assert first == again
    assert list(batches) != first


def test_order_after_a_resume_is_that_of_the_epoch():
    whole = EvenBatches(range(40), 8, seed=lambda epoch: epoch)
    whole.set_epoch(5)
    resumed = EvenBatches(range(40), 8, seed=lambda epoch: epoch, first_epoch=3)
    resumed.set_epoch(2)
    assert list(whole) == list(resumed)


@given(**sizes, accumulate=st.integers(1, 5))
def test_weights_make_every_step_the_mean_of_its_materials(n, size, accumulate):
    batches = EvenBatches(range(n), size, seed=lambda epoch: epoch)
    weights = batches.weights(accumulate)
    steps = [slice(start, start + accumulate) for start in range(0, len(batches), accumulate)]
    for step in steps:
        of_all = sum(batches.sizes[step])
        shares = [length / of_all for length in batches.sizes[step]]
        assert [weight / accumulate for weight in weights[step]] == pytest.approx(shares)
    if accumulate == 1:
        assert weights == [1.0] * len(batches)


def test_a_single_training_material_is_refused():
    with pytest.raises(ValueError, match="1 training material: BatchNorm needs at least 2"):
        EvenBatches([7], 8, seed=lambda epoch: epoch)


def test_evaluation_keeps_the_order():
    rows = list(range(EVAL_BATCH + 3))
    assert [len(batch) for batch in in_order(rows)] == [EVAL_BATCH, 3]
    assert [row for batch in in_order(rows) for row in batch] == rows


def test_loading_leaves_the_global_random_state_alone():
    inputs = ArrayInputs("features", torch.arange(6.0))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    items = list(loader(inputs, torch.arange(6.0), EvenBatches(range(6), 2, seed=lambda epoch: epoch)))
    assert len(items) == 3
    assert all(torch.equal(batch["features"], z) for batch, z in items)
    assert torch.equal(torch.get_rng_state(), before)
