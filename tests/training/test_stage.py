import math

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from rhoflow.config import ReadoutStage
from rhoflow.errors import StudyError
from rhoflow.models.inputs import ArrayInputs
from rhoflow.models.networks import NETWORKS
from rhoflow.models.readout import Readout
from rhoflow.training.evaluate import RunKey
from rhoflow.training.resume import StageState
from rhoflow.training.stage import EARLY, LIMIT, OnFeatures, copy_state, run_model, run_stage, stop_reason

CLOSE = 1e-4
DATA = tiny.tiny_data()
Z = torch.from_numpy(((DATA.y - DATA.y.mean()) / DATA.y.std()).astype(np.float32))
FEATURES = ArrayInputs("features", Z[:, None] * torch.tensor([[1.0, -1.0, 0.5]]))


_seed = RunKey("image", "k_vrh", "none", 0, 0).random_seed


def _run(model, inputs=FEATURES, state=None, after_epoch=lambda state: None, **stage):
    state = state or StageState()
    options = ReadoutStage(**({"epochs": 6, "patience": 6, "batch_size": 4, "learning_rate": 1e-2} | stage))
    run_stage(
        "readout", model, inputs, DATA, Z, stage=options, std=3.0, state=state, seed=_seed, after_epoch=after_epoch
    )
    return state


def _readout(seed=0):
    torch.manual_seed(seed)
    return OnFeatures(Readout(3, (8, 4), 0.1))


def test_a_learnable_target_is_learnt():
    state = _run(_readout(), epochs=40, patience=40)
    assert state.history[0]["val_loss"] > 0.3
    assert state.best_loss < 0.1


def test_history_has_a_row_an_epoch_in_physical_units():
    state = _run(_readout(), epochs=3)
    assert [row["epoch"] for row in state.history] == [1, 2, 3]
    for row in state.history:
        assert row["val_rmse"] == pytest.approx(3.0 * math.sqrt(row["val_loss"]))
        assert row["lr"] == 1e-2


def test_validation_loss_is_the_mean_over_validation_materials():
    """Of the state after the epoch, in evaluation mode: seen from outside by running the model again."""
    model = _readout()
    state = _run(model, epochs=1)
    rows = DATA.rows("val")
    predicted = run_model(model, FEATURES)[rows]
    assert state.history[0]["val_loss"] == pytest.approx(float(((predicted - Z[rows]) ** 2).mean()), abs=CLOSE)


def test_model_ends_with_its_best_weights():
    model = _readout()
    seen = {}
    state = _run(model, learning_rate=0.3, after_epoch=lambda state: seen.update({state.epoch: state.best}))
    assert state.best_epoch == min(state.history, key=lambda row: row["val_loss"])["epoch"]
    assert all(torch.equal(model.state_dict()[key], seen[state.best_epoch][key]) for key in model.state_dict())


def test_model_stays_as_it_was_where_no_epoch_beats_the_given_loss():
    model = _readout()
    before = copy_state(model)
    state = _run(model, state=StageState(best_loss=0.0), patience=2)
    assert (state.epoch, state.best_epoch, state.stopped) == (2, 0, EARLY)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "reason"),
    [(4, 2, None), (5, 2, EARLY), (9, 9, None), (10, 10, LIMIT), (10, 2, LIMIT)],
)
def test_stage_stops_after_patience_or_at_the_limit(epoch, best_epoch, reason):
    stage = ReadoutStage(epochs=10, patience=3)
    assert stop_reason(StageState(epoch=epoch, best_epoch=best_epoch), stage) == reason


def test_a_diverging_fit_names_the_setting_to_lower():
    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(math.nan))

        def forward(self, batch):
            return self.weight * batch["features"][:, 0]

    with pytest.raises(StudyError, match=r"after epoch 1: the fit diverged; lower training\.readout\.learning_rate"):
        _run(Nothing())


def test_cached_features_give_the_fit_of_the_plain_loop(tiny_options):
    """The plain loop runs the frozen backbone in every step; features of a material depend on nothing but it."""

    class Frozen(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.readout = network.readout
            self.backbone = [network.backbone.eval()]  # in a list: not a submodule, so not trained

        def forward(self, batch):
            with torch.no_grad():
                features = self.backbone[0](batch)
            return self.readout(features)

    def network():
        torch.manual_seed(0)
        return NETWORKS["fusion"].make(tiny_options, {})

    plain, cached = network(), network()
    inputs = plain.prepare(DATA.images, DATA.texts)
    features = run_model(cached.backbone, inputs)
    slow = _run(Frozen(plain), inputs)
    fast = _run(OnFeatures(cached.readout), ArrayInputs("features", features))
    losses = [[row["val_loss"] for row in state.history] for state in (slow, fast)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=CLOSE)
    assert np.ptp(losses[0]) > 10 * CLOSE  # there was something to agree on


def _losses(z):
    model, state = _readout(), StageState()
    stage = ReadoutStage(epochs=3, patience=3, batch_size=4)
    run_stage(
        "readout",
        model,
        FEATURES,
        DATA,
        z,
        stage=stage,
        std=1.0,
        state=state,
        seed=_seed,
        after_epoch=lambda state: None,
    )
    return [row["val_loss"] for row in state.history]


def _changed(part):
    z = Z.clone()
    z[DATA.rows(part)[0]] += 5
    return z


def test_fit_reads_training_and_validation_targets_and_no_test_target():
    losses = {part: _losses(_changed(part)) for part in ("train", "val", "test")}
    assert losses["test"] == _losses(Z)
    assert losses["train"] != _losses(Z)
    assert losses["val"] != _losses(Z)


@pytest.fixture
def steps():
    """Gradients of every step of an optimiser; Lightning computes them within the step."""
    seen = []

    def look(optimizer, *_):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        seen.append([parameter.grad.clone() for parameter in parameters if parameter.grad is not None])

    handle = register_optimizer_step_post_hook(look)
    yield seen
    handle.remove()


def _norm(gradients):
    return math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_no_step_has_a_longer_gradient_than_allowed(steps, clip_norm):
    _run(_readout(), epochs=2, clip_norm=clip_norm)
    norms = [_norm(gradients) for gradients in steps]
    assert len(norms) == 2 * 3
    assert (max(norms) <= 0.05 * (1 + CLOSE)) == (clip_norm is not None)


class _Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))

    def forward(self, batch):
        return batch["features"] @ self.weight


@pytest.mark.parametrize(("accumulate", "materials"), [(3, [12]), (2, [8, 4])])
def test_accumulated_step_has_the_gradient_of_all_its_materials(steps, accumulate, materials):
    """12 training materials in three batches of four: a batch of 12, or of 8 and 4 where the last group is short."""
    _run(_Line(), epochs=1, accumulate=accumulate, learning_rate=1e-9)
    _run(_Line(), epochs=1, batch_size=12)
    *grouped, whole = [gradients[0] for gradients in steps]
    assert len(grouped) == len(materials)
    mean = sum(n * gradient for n, gradient in zip(materials, grouped, strict=True)) / 12
    np.testing.assert_allclose(mean, whole, rtol=0, atol=CLOSE)


def test_cosine_schedule_is_half_a_wave_over_the_epochs():
    state = _run(_readout(), epochs=4, patience=4, learning_rate=0.01, schedule="cosine")
    expected = [0.01, 0.01 * (1 + math.sqrt(0.5)) / 2, 0.005, 0.01 * (1 - math.sqrt(0.5)) / 2]
    assert [row["lr"] for row in state.history] == pytest.approx(expected)


def test_learning_rate_of_the_history_is_that_of_the_steps():
    seen = []
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    state = _run(_readout(), epochs=3, schedule="cosine")
    handle.remove()
    assert seen[::3] == [row["lr"] for row in state.history]
    assert len(set(seen)) == 3


def test_training_batches_are_augmented_and_validation_batches_are_not():
    def zero(batch, generator):
        return {"features": torch.zeros_like(batch["features"])}

    def fit(augment):
        model, state = _readout(), StageState()
        stage = ReadoutStage(epochs=2, patience=2, batch_size=4)
        run_stage(
            "readout", model, FEATURES, DATA, Z, stage=stage, std=1.0, state=state, seed=_seed,
            after_epoch=lambda state: None, augment=augment,
        )  # fmt: skip
        rows = DATA.rows("val")
        predicted = run_model(model, FEATURES)[rows]
        return state, float(((predicted - Z[rows]) ** 2).mean())

    plain, _ = fit(None)
    state, of_true_features = fit(zero)
    assert state.history[0]["train_loss"] != plain.history[0]["train_loss"]
    assert state.best_loss == pytest.approx(of_true_features, abs=CLOSE)


def test_augmentation_draws_anew_each_epoch_and_the_same_for_the_same_run():
    drawn = []

    def listen(batch, generator):
        drawn.append(float(torch.rand(1, generator=generator)))
        return batch

    for _ in range(2):
        run_stage(
            "readout", _readout(), FEATURES, DATA, Z, stage=ReadoutStage(epochs=2, batch_size=4), std=1.0,
            state=StageState(), seed=_seed, after_epoch=lambda state: None, augment=listen,
        )  # fmt: skip
    assert drawn[:6] == drawn[6:]
    assert len(set(drawn[:6])) == 6
