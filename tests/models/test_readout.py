import numpy as np
import pytest
import torch
from torch import nn

from rhoflow.config import Readout as ReadoutOptions
from rhoflow.models.readout import Readout

CLOSE = 1e-5


def test_default_readout_has_four_dense_layers_narrowing_to_256_then_1():
    options = ReadoutOptions()
    dense = [
        layer for layer in Readout(1280, options.widths, options.dropout).modules() if isinstance(layer, nn.Linear)
    ]
    widths = [layer.out_features for layer in dense]
    assert len(dense) == 4
    assert widths[2:] == [256, 1]
    assert sorted(widths, reverse=True) == widths


def test_relu_norm_and_dropout_follow_every_layer_but_the_last():
    readout = Readout(5, (4, 3), 0.3)
    assert [type(layer).__name__ for layer in readout.hidden] == ["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 2
    assert isinstance(readout.last, nn.Linear)
    assert {layer.p for layer in readout.hidden if isinstance(layer, nn.Dropout)} == {0.3}


def test_prediction_is_the_last_layer_on_the_penultimate_vector():
    readout = Readout(5, (4, 3), 0.0).eval()
    features = torch.randn(6, 5)
    by_hand = readout.penultimate(features) @ readout.last.weight.T + readout.last.bias
    np.testing.assert_allclose(readout(features).detach(), by_hand[:, 0].detach(), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_evaluation_takes_any_number_of_materials(n):
    assert Readout(5, (4, 3), 0.5).eval()(torch.zeros(n, 5)).shape == (n,)
