"""The contract of every registered network: a new one is tested from the moment it is registered."""

import copy

import numpy as np
import pytest
import torch

from rhoflow.config import KNOWN_NETWORKS, Fusion, ImageModel, Study
from rhoflow.errors import StudyError
from rhoflow.models.backbones import text_backbone
from rhoflow.models.networks import NETWORKS, load_state, save_state

CLOSE = 1e-5
N = 5
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, size=(N, 32, 32)).astype(np.float32)
SIDE = RANDOM.uniform(1, 6, size=(N, 2))
TEXTS = ("Ti.", "NaCl is Halite structured.", "MgO.", "All Mg-O bond lengths are 2.11 Å.", "Fe.")
# Networks by name, and those that a setting makes another network of.
BESIDE = {"image": ImageModel(backbone="timm:test_efficientnet", weights="random", side_inputs=True)}
VARIANTS = {
    "fusion-scalar": ("fusion", {"fusion": Fusion(kind="scalar")}),
    "image-side": ("image", BESIDE),
    "fusion-side": ("fusion", BESIDE),
}
every_network = pytest.mark.parametrize("name", [*NETWORKS, *VARIANTS])


@pytest.mark.parametrize("name", [*NETWORKS])
def test_network_depends_on_the_sections_that_its_row_names(name):
    """Its rule reruns when one of them changes, and only then."""
    row, entry = KNOWN_NETWORKS[name], NETWORKS[name]
    assert set(entry.options.model_fields) == {*row.sections, "two_part"}
    assert entry.parents(entry.take_options(Study())) == row.parents


def _entry(name):
    return NETWORKS[_base(name)]


def _reads(name):
    return KNOWN_NETWORKS[_base(name)].reads


def _base(name):
    return VARIANTS[name][0] if name in VARIANTS else name


@pytest.fixture
def make(tiny_options):
    def build(name, seed=0):
        torch.manual_seed(seed)
        changes = VARIANTS[name][1] if name in VARIANTS else {}
        options = tiny_options.model_copy(update=changes)
        return _entry(name).make(_entry(name).take_options(options), {})

    return build


def _batch(network):
    return network.prepare(IMAGES, TEXTS, SIDE)[list(range(N))]


@every_network
def test_one_number_a_material(make, name):
    network = make(name).eval()
    prediction = network(_batch(network))
    assert prediction.shape == (N,)
    assert prediction.dtype == torch.float32


@every_network
def test_penultimate_vector_has_the_readouts_width(make, name):
    network = make(name).eval()
    assert network.penultimate(_batch(network)).shape == (N, network.readout.n_penultimate)


@every_network
def test_features_have_the_announced_width(make, name):
    network = make(name).eval()
    assert network.backbone(_batch(network)).shape == (N, network.backbone.n_features)


@every_network
def test_prediction_is_the_readout_on_the_backbone(make, name):
    network = make(name).eval()
    batch = _batch(network)
    assert torch.equal(network(batch), network.readout(network.backbone(batch)))


@every_network
def test_network_needs_what_its_row_says_that_it_reads(make, name):
    images, texts = (what in _reads(name) for what in ("image", "text"))
    assert len(make(name).prepare(IMAGES if images else None, TEXTS if texts else None, SIDE)) == N


@every_network
def test_blocks_hold_every_parameter_of_the_backbone_once(make, name):
    backbone = make(name).backbone
    blocks = backbone.blocks()
    held = sorted(id(parameter) for block in blocks for parameter in block)
    assert held == sorted(id(parameter) for parameter in backbone.parameters())
    assert len(blocks) > 1


@every_network
def test_gradient_of_the_last_block_needs_no_block_before_it(make, name):
    """The order is that of the architecture: the rest frozen, what is left still learns."""
    network = make(name).train()
    *before, last = network.backbone.blocks()
    for block in before:
        for parameter in block:
            parameter.requires_grad_(False)
    (network(_batch(network)) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in last)


@every_network
def test_evaluation_is_deterministic(make, name):
    network = make(name).eval()
    batch = _batch(network)
    assert torch.equal(network(batch), network(batch))


@every_network
def test_a_material_alone_is_as_in_a_batch(make, name):
    network = make(name).eval()
    inputs = network.prepare(IMAGES, TEXTS, SIDE)
    with torch.no_grad():
        together = network(inputs[list(range(N))])
        alone = torch.cat([network(inputs[[row]]) for row in range(N)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=CLOSE)


@every_network
def test_inputs_are_left_unmutated(make, name):
    network = make(name).train()
    batch = _batch(network)
    before = copy.deepcopy(batch)
    network(batch).sum().backward()
    assert all(torch.equal(batch[key], before[key]) for key in batch)


@every_network
def test_gradient_reaches_every_parameter_when_all_is_trained(make, name):
    network = make(name).train()
    (network(_batch(network)) ** 2).sum().backward()
    without = [key for key, value in network.named_parameters() if value.grad is None]
    assert without == []


def test_fusion_knows_that_its_image_parent_was_pretrained(make, tiny_options, tmp_path):
    image = make("image")
    image.backbone.pretrained.fill_(True)
    save_state(image, tmp_path)
    fusion = NETWORKS["fusion"].make(tiny_options, {"image": tmp_path})
    assert bool(fusion.backbone.backbones["image"].pretrained)


@every_network
def test_gradient_stays_in_the_readout_when_features_are_cached(make, name):
    network = make(name).train()
    with torch.no_grad():
        features = network.backbone(_batch(network))
    (network.readout(features) ** 2).sum().backward()
    assert all(value.grad is not None for value in network.readout.parameters())
    assert all(value.grad is None for value in network.backbone.parameters())


@every_network
def test_same_seed_same_weights_another_seed_others(make, name):
    first, again, other = (make(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@every_network
def test_saved_state_restores_the_predictions(make, name, tmp_path):
    network, other = make(name, 0).eval(), make(name, 1).eval()
    batch = _batch(network)
    save_state(network, tmp_path)
    load_state(other, tmp_path)
    assert torch.equal(network(batch), other(batch))


@every_network
def test_weights_are_named_for_every_modality(make, name):
    assert set(make(name).weights) == set(_reads(name))


def test_fusion_is_built_on_its_parents_without_their_last_layers(make, tiny_options, tmp_path):
    parents = {}
    for name in ("image", "text"):
        parents[name] = tmp_path / name
        parents[name].mkdir()
        save_state(make(name, seed=7), parents[name])
    torch.manual_seed(1)
    fusion = NETWORKS["fusion"].make(tiny_options, parents).eval()
    image, text = (make(name, seed=7).eval() for name in ("image", "text"))
    expected = torch.cat([network.penultimate(_batch(network)) for network in (image, text)], dim=1)
    assert torch.equal(fusion.backbone(_batch(fusion)), expected)


def test_scalar_fusion_reads_the_image_networks_prediction_and_the_pretrained_text(make, tiny_options, tmp_path):
    save_state(make("image", seed=7), tmp_path)
    torch.manual_seed(1)
    options = tiny_options.model_copy(update={"fusion": Fusion(kind="scalar")})
    fusion = NETWORKS["fusion"].make(options, {"image": tmp_path, "text": tmp_path / "unread"}).eval()
    image, text = make("image", seed=7).eval(), text_backbone(tiny_options.language).eval()
    batch = _batch(fusion)
    features = fusion.backbone(batch)
    assert torch.equal(features[:, 0], image(batch))
    assert torch.equal(features[:, 1:], text(batch))


def test_scalar_fusion_pools_by_the_mean_whatever_the_text_network_does(make, tiny_options):
    first_token = tiny_options.language.model_copy(update={"pooling": "cls"})
    options = tiny_options.model_copy(update={"fusion": Fusion(kind="scalar"), "language": first_token})
    assert NETWORKS["fusion"].make(options, {}).backbone.text.pooling == "mean"


def test_missing_parent_says_what_to_make_first(tiny_options, tmp_path):
    with pytest.raises(StudyError, match=r"image/model\.safetensors is missing: that run comes first"):
        NETWORKS["fusion"].make(tiny_options, {"image": tmp_path / "image"})


def test_state_of_another_architecture_is_refused(make, tmp_path):
    save_state(make("image"), tmp_path)
    with pytest.raises(StudyError, match="does not fit the configured architecture"):
        load_state(make("text"), tmp_path)
