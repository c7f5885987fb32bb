import pytest

from rhoflow.config import FinetuneStage, ReadoutStage, Search, Training
from rhoflow.models.networks import NETWORKS
from rhoflow.training.search.space import own_values, ranges, with_values

VALUES = {
    "head_learning_rate": 0.004,
    "backbone_learning_rate": 3e-5,
    "batch_size": 7,
    "dropout": 0.35,
    "weight_decay": 2e-3,
    "unfreeze_blocks": 2,
}


@pytest.fixture
def options(tiny_options):
    return NETWORKS["image"].take_options(tiny_options)


def test_every_value_reaches_its_setting(options):
    plain = Training()
    changed_options, training = with_values(options, plain, VALUES)
    readout = {"learning_rate": 0.004, "batch_size": 7, "weight_decay": 2e-3}
    finetune = {"learning_rate": 3e-5, "batch_size": 7, "weight_decay": 2e-3, "unfreeze_blocks": 2}
    assert training.readout == plain.readout.model_copy(update=readout)
    assert training.finetune == plain.finetune.model_copy(update=finetune)
    assert changed_options.readout == options.readout.model_copy(update={"dropout": 0.35})
    assert changed_options.image == options.image


def test_no_value_changes_nothing(options):
    assert with_values(options, Training(), {}) == (options, Training())


def test_frozen_backbone_leaves_the_second_stage_out(options):
    assert set(ranges(Search(), options, frozen=False)) == set(VALUES)
    assert set(ranges(Search(), options, frozen=True)) == set(VALUES) - {"backbone_learning_rate", "unfreeze_blocks"}


def test_network_without_the_papers_readout_has_no_dropout_to_search(tiny_options):
    limits = ranges(Search(), NETWORKS["clip"].take_options(tiny_options), frozen=False)
    assert set(limits) == set(VALUES) - {"dropout"}
    options, training = with_values(
        NETWORKS["clip"].take_options(tiny_options), Training(), {name: VALUES[name] for name in limits}
    )
    assert options == NETWORKS["clip"].take_options(tiny_options)
    assert training.finetune.unfreeze_blocks == 2


def test_own_settings_are_those_of_the_study_where_the_ranges_hold_them(options):
    training = Training(
        readout=ReadoutStage(learning_rate=2e-3, batch_size=8, weight_decay=1e-5),
        finetune=FinetuneStage(learning_rate=5e-5, unfreeze_blocks=3),
    )
    own = own_values(ranges(Search(), options, frozen=False), options, training)
    assert own == {
        "head_learning_rate": 2e-3,
        "backbone_learning_rate": 5e-5,
        "batch_size": 8,
        "dropout": options.readout.dropout,
        "weight_decay": 1e-5,
        "unfreeze_blocks": 3,
    }


def test_own_settings_outside_the_ranges_move_to_their_ends(options):
    search = Search(head_learning_rate=(1e-5, 1e-4), batch_size=(40, 64), unfreeze_blocks=(1, 4))
    own = own_values(ranges(search, options, frozen=False), options, Training())
    assert own["head_learning_rate"] == 1e-4
    assert own["batch_size"] == 40
    assert own["unfreeze_blocks"] == 4  # all blocks, as far as the range goes


def test_ranges_of_the_issue_are_the_default():
    search = Search()
    assert (search.head_learning_rate, search.backbone_learning_rate) == ((1e-5, 1e-2), (1e-6, 1e-3))
    assert (search.batch_size, search.dropout, search.models) == ((4, 64), (0, 0.5), ())
