"""What the weights of networks are said to take, against networks that are built."""

from __future__ import annotations

import pytest

from rhoflow.config import Study
from rhoflow.sources.trained import Trained, trained

FACTOR = 1.5


@pytest.mark.parametrize("model", ["image", "fusion"])
def test_weights_are_as_large_as_was_said(model: str) -> None:
    from rhoflow.models.networks import NETWORKS

    study = Study(image={"weights": "random"}, language={"weights": "random"})
    entry = NETWORKS[model]
    network = entry.make(entry.take_options(study), {})
    [said] = trained(study, {model: 3})
    assert said.runs == 3
    assert 1 / FACTOR < said.size / sum(value.nbytes for value in network.state_dict().values()) < FACTOR


def test_network_on_an_unknown_backbone_has_no_size() -> None:
    study = Study(image={"backbone": "timm:resnet18"})
    assert [network.size for network in trained(study, {"image": 1, "text": 1, "fusion": 1})] == [
        0.0,
        pytest.approx(4 * 23.6e6, rel=0.01),
        0.0,
    ]


def test_word_is_read_back() -> None:
    assert Trained.parse(Trained("image", 15, 9.12e7).word) == Trained("image", 15, 9.12e7)
