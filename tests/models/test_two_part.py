"""A readout in two parts: the chance of not being zero, and the value of what is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from rhoflow.models.networks import NETWORKS
from rhoflow.models.readout import Readout
from rhoflow.training.evaluate import RunKey
from rhoflow.training.pack import train_pack

CLOSE = 1e-6
ZERO, NEAR = -0.8, 0.01


def _readout(logit: float, value: float) -> Readout:
    """Readout whose last layer gives these two numbers, whatever it sees."""
    readout = Readout(3, (), dropout=0.0, two_part=True)
    readout.place_zero(ZERO, NEAR)
    with torch.no_grad():
        readout.last.weight.zero_()
        readout.last.bias.copy_(torch.tensor([logit, value]))
    return readout


@pytest.mark.parametrize(("logit", "expected"), [(50.0, 1.7), (-50.0, ZERO), (0.0, (1.7 + ZERO) / 2)])
def test_prediction_is_the_mean_of_zero_and_the_value(logit: float, expected: float) -> None:
    assert _readout(logit, 1.7)(torch.ones(2, 3)).tolist() == pytest.approx([expected] * 2, abs=CLOSE)


def test_loss_is_the_cross_entropy_and_the_squared_error_of_what_is_not_zero() -> None:
    """By hand: one material at zero, one near it that counts as zero, two that are not zero."""
    z = torch.tensor([ZERO, ZERO + 0.5 * NEAR, 0.2, 1.2])
    p, value = 1 / (1 + np.exp(-0.4)), 0.7
    entropy = -(2 * np.log(1 - p) + 2 * np.log(p)) / 4
    squared = ((value - 0.2) ** 2 + (value - 1.2) ** 2) / 4
    loss = _readout(0.4, value).loss(torch.ones(4, 3), z)
    assert loss.item() == pytest.approx(entropy + squared, abs=CLOSE)


def test_value_learns_nothing_from_zeros() -> None:
    readout = _readout(0.3, 0.7)
    readout.loss(torch.ones(2, 3), torch.tensor([ZERO, ZERO])).backward()
    gradient = readout.last.bias.grad
    assert gradient is not None
    assert gradient[1] == 0
    assert gradient[0] > 0  # the chance falls


def test_readout_in_one_part_has_the_state_it_always_had() -> None:
    assert set(Readout(3, (), dropout=0.0).state_dict()) == {"last.weight", "last.bias"}
    plain = Readout(3, (), dropout=0.0)
    features, z = torch.randn(5, 3), torch.randn(5)
    assert torch.equal(plain.loss(features, z), nn.functional.mse_loss(plain(features), z))


@pytest.fixture
def options(tiny_options):
    return lambda name: NETWORKS[name].take_options(tiny_options).model_copy(update={"two_part": True})


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_can_have_two_parts(options, name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name].make(options(name), {})
    data = tiny.tiny_data()
    network.readout.place_zero(ZERO, NEAR)
    network.eval()
    batch = network.prepare(data.images, data.texts)[[0, 1, 2]]
    with torch.no_grad():
        logit, value = network.readout.last(network.penultimate(batch)).unbind(-1)
        predicted = network(batch)
    by_hand = ZERO + torch.sigmoid(logit) * (value - ZERO)
    np.testing.assert_allclose(predicted, by_hand, rtol=0, atol=CLOSE)


def _zeroed():
    """Made-up materials of which those with texts on titanium are metals: exactly zero."""
    data = tiny.tiny_data(n=48)
    return dataclasses.replace(data, y=np.where([text == "Ti." for text in data.texts], 0.0, data.y / 50))


def test_a_run_in_two_parts_writes_the_same_bytes_again(tmp_path, tiny_encoder, options) -> None:
    written = []
    for root in (tmp_path / "one", tmp_path / "two"):
        pack = tiny.tiny_pack(root, tiny_encoder, "text", target="band_gap", options=options("text"))
        train_pack(pack, [(0, 0)], lambda fold: _zeroed())
        folder = RunKey("text", "band_gap", "formula", 0, 0).folder(root)
        written.append([(folder / name).read_bytes() for name in ("metrics.json", "predictions.parquet")])
    assert written[0] == written[1]


def test_a_target_without_zeros_has_no_two_parts(tmp_path, tiny_encoder, options) -> None:
    pack = tiny.tiny_pack(tmp_path, tiny_encoder, options=options("image"))
    with pytest.raises(
        ValueError, match="two_part: 'k_vrh' is not known to be zero for many crystals; known: band_gap"
    ):
        train_pack(pack, [(0, 0)], tiny.tiny_data)
