import numpy as np
import pytest
import tiny
import torch
from torch import nn

from rhoflow.config import FinetuneStage
from rhoflow.models.networks import NETWORKS
from rhoflow.training.evaluate import RunKey
from rhoflow.training.layers import Layers
from rhoflow.training.resume import StageState
from rhoflow.training.stage import run_stage

KEY = RunKey("image", "k_vrh", "none", 0, 0)
DATA = tiny.tiny_data()
Z = torch.from_numpy(((DATA.y - DATA.y.mean()) / DATA.y.std()).astype(np.float32))


def _tower():
    """Three blocks and a readout of one parameter each."""
    model = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(4)])
    return model, [list(layer.parameters()) for layer in model[:3]]


@pytest.mark.parametrize(
    ("every", "depth", "expected"),
    [
        (0, None, [3, 3, 3, 3, 3]),
        (0, 2, [2, 2, 2, 2, 2]),
        (1, None, [1, 2, 3, 3, 3]),
        (2, None, [1, 1, 2, 2, 3]),
        (1, 2, [1, 2, 2, 2, 2]),
        (0, 9, [3, 3, 3, 3, 3]),
    ],
)
def test_blocks_are_opened_one_by_one_up_to_the_depth(every, depth, expected):
    _, blocks = _tower()
    layers = Layers(blocks, FinetuneStage(unfreeze_every=every, unfreeze_blocks=depth))
    assert [layers.n_open(epoch) for epoch in range(5)] == expected


def test_the_last_blocks_are_opened_and_the_readout_always_is():
    model, blocks = _tower()
    layers = Layers(blocks, FinetuneStage(unfreeze_every=1))
    layers.unfreeze(model, 1)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    layers.open_all()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_each_block_learns_slower_than_the_one_after_it():
    model, blocks = _tower()
    groups = Layers(blocks, FinetuneStage(layer_decay=0.5)).groups(model)
    scale = {id(parameter): group["scale"] for group in groups for parameter in group["params"]}
    assert [scale[id(parameter)] for parameter in model.parameters()] == [0.125, 0.25, 0.5, 1.0]


def test_batch_norm_of_a_frozen_block_keeps_its_statistics():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    blocks = [list(layer.parameters()) for layer in model[:2]]
    Layers(blocks, FinetuneStage(unfreeze_blocks=1)).unfreeze(model, 0)
    model(torch.randn(8, 2) + 5)
    assert torch.equal(model[0].running_mean, torch.zeros(2))
    assert not torch.equal(model[1].running_mean, torch.zeros(2))


def _changed_blocks(tiny_options, **how):
    """Which blocks of the image network a fit of some epochs changes, from the input on."""
    torch.manual_seed(0)
    network = NETWORKS["image"].make(NETWORKS["image"].take_options(tiny_options), {})
    stage = FinetuneStage(**({"epochs": 2, "patience": 9, "learning_rate": 1e-2, "batch_size": 4} | how))
    blocks = network.backbone.blocks()
    before = [[parameter.detach().clone() for parameter in block] for block in blocks]
    run_stage(
        "finetune", network, network.prepare(DATA.images, None), DATA, Z, stage=stage, std=1.0, state=StageState(),
        seed=KEY.random_seed, after_epoch=lambda state: None, layers=Layers(blocks, stage),
    )  # fmt: skip
    assert all(parameter.requires_grad for parameter in network.parameters())
    return [
        any(not torch.equal(old, new) for old, new in zip(one, block, strict=True))
        for one, block in zip(before, blocks, strict=True)
    ]


def test_frozen_blocks_of_a_fit_do_not_change(tiny_options):
    every = _changed_blocks(tiny_options)
    top = _changed_blocks(tiny_options, unfreeze_blocks=1)
    gradual = _changed_blocks(tiny_options, unfreeze_every=1)
    assert all(every)
    assert top == [False] * (len(every) - 1) + [True]
    assert gradual[-1]
    assert sum(gradual) <= 2
