import torch
from torch import nn

from rhoflow.models.blocks import join_blocks, numbered_blocks


def _named(*names):
    """A module whose parameters have these names, dots and all."""
    root = nn.Module()
    for name in names:
        *path, last = name.split(".")
        place = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.register_parameter(last, nn.Parameter(torch.zeros(1)))
    return root


def _names(model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in block] for block in numbered_blocks(model)]


def test_transformer_goes_from_embeddings_over_numbered_layers_to_the_rest():
    model = _named("pooler.weight", "encoder.layer.10.w", "encoder.layer.2.w", "embeddings.words.weight")
    assert _names(model) == [
        ["embeddings.words.weight"],
        ["encoder.layer.2.w"],
        ["encoder.layer.10.w"],
        ["pooler.weight"],
    ]


def test_vision_tower_of_open_clip_ends_with_its_projection():
    model = _named("class_embedding", "proj", "conv1.weight", "ln_pre.bias", "transformer.resblocks.0.w", "ln_post.w")
    first, middle, last = _names(model)
    assert sorted(first) == ["class_embedding", "conv1.weight", "ln_pre.bias"]
    assert middle == ["transformer.resblocks.0.w"]
    assert sorted(last) == ["ln_post.w", "proj"]


def test_residual_network_ends_with_its_pooling_whatever_that_embeds():
    model = _named("bn1.weight", "layer1.0.conv1.weight", "layer2.0.bn1.weight", "attnpool.positional_embedding")
    assert _names(model) == [
        ["bn1.weight"],
        ["layer1.0.conv1.weight"],
        ["layer2.0.bn1.weight"],
        ["attnpool.positional_embedding"],
    ]


def test_joined_blocks_are_aligned_at_their_ends():
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    joined = join_blocks([[[a], [b]], [[c]]])
    assert [[id(one) for one in block] for block in joined] == [[id(a)], [id(b), id(c)]]
