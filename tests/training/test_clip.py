"""CLIP in training: the same bytes after a kill, cut texts counted, both towers unfrozen block by block."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import tiny

from rhoflow.config import Clip, Splits, Study
from rhoflow.models.clip import count_tokens
from rhoflow.models.clip_weights import architecture, tokenizer_of
from rhoflow.models.networks import ClipOptions
from rhoflow.training import pack as module
from rhoflow.training.names import series_folds
from rhoflow.training.pack import train_pack
from rhoflow.training.variants import changed_study

FOLDS = [(0, 0), (1, 0)]
SAME = ("metrics.json", "predictions.parquet", "history.csv", "model.safetensors")
HOW = {"schedule": "cosine", "clip_norm": 0.5, "accumulate": 2}


def _training():
    """Every setting of a fit other than its default."""
    plain = tiny.tiny_training()
    blocks = {"layer_decay": 0.8, "unfreeze_every": 1}
    return tiny.tiny_training(
        readout=plain.readout.model_copy(update=HOW), finetune=plain.finetune.model_copy(update=HOW | blocks)
    )


def _train(root, encoder, runs=FOLDS[:1], load=tiny.tiny_data, **changes):
    pack = tiny.tiny_pack(root, encoder, "clip", **({"training": _training()} | changes))
    train_pack(pack, runs, load)
    return [pack.key(fold, seed).folder(root) for fold, seed in runs]


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_encoder):
    """Two folds, without any disturbance."""
    return _train(tmp_path_factory.mktemp("clip"), tiny_encoder, runs=FOLDS)


def test_both_stages_improve_and_are_told(trained):
    training = json.loads((trained[0] / "metrics.json").read_text())["training"]
    assert training["weights"] == {"image": "random", "text": "random"}
    assert [(stage["name"], stage["epochs"]) for stage in training["stages"]] == [("readout", 5), ("finetune", 3)]
    assert training["stages"][1]["best_epoch"] > 0


def test_pack_of_one_has_the_bytes_of_many(trained, tmp_path, tiny_encoder):
    alone = _train(tmp_path, tiny_encoder, runs=FOLDS[1:])
    assert _bytes(alone[0]) == _bytes(trained[1])


@pytest.mark.parametrize("epochs", [3, 7], ids=["in-the-readout", "in-the-finetune"])
def test_run_resumed_after_an_exception_ends_with_the_same_bytes(
    trained, tmp_path, tiny_encoder, monkeypatch, epochs
):
    class Stop(module._Teller):
        left = epochs

        def __call__(self, name, stage, state):
            Stop.left -= 1
            if Stop.left == 0:
                raise InterruptedError

    monkeypatch.setattr(module, "_Teller", Stop)
    with pytest.raises(InterruptedError):
        _train(tmp_path, tiny_encoder)
    assert not (tmp_path / "runs").exists()
    resumed = _train(tmp_path, tiny_encoder)
    assert _bytes(resumed[0]) == _bytes(trained[0])


def test_texts_beyond_the_limit_are_counted_in_the_metrics(tmp_path, tiny_encoder):
    texts = tuple("NaCl is Halite structured. " * (1 + row % 4) for row in range(24))
    options = tiny.tiny_options(tiny_encoder).clip
    tokenizer = tokenizer_of(architecture(options.model))
    beyond = sum(count_tokens(tokenizer, text) > 24 for text in texts)
    folder = _train(tmp_path, tiny_encoder, load=lambda fold: replace(tiny.tiny_data(fold), texts=texts), frozen=True)
    assert json.loads((folder[0] / "metrics.json").read_text())["training"]["texts_cut"] == beyond
    assert 0 < beyond < 24


def test_frozen_towers_stay_as_they_start(tmp_path, tiny_encoder, trained):
    frozen = _train(tmp_path, tiny_encoder, frozen=True)[0]
    before, after = (safetensors.torch.load_file(run / "model.safetensors") for run in (frozen, trained[0]))
    changed = {key for key in before if not before[key].equal(after[key])}
    assert {"backbone.visual.proj", "backbone.text.text_projection", "readout.last.weight"} <= changed
    assert {"backbone.scale", "backbone.shift"}.isdisjoint(changed)


def test_top_block_alone_is_trained_where_the_study_says_so(tmp_path, tiny_encoder):
    frozen = _train(tmp_path / "frozen", tiny_encoder, frozen=True)[0]
    training = _training()
    top = training.finetune.model_copy(update={"unfreeze_blocks": 1, "unfreeze_every": 0})
    tuned = _train(tmp_path, tiny_encoder, training=training.model_copy(update={"finetune": top}))[0]
    before, after = (safetensors.torch.load_file(run / "model.safetensors") for run in (frozen, tuned))
    changed = {key for key in before if not before[key].equal(after[key])}
    assert {"backbone.visual.proj", "backbone.text.text_projection"} <= changed
    assert not {key for key in changed if "resblocks" in key or "embedding" in key or "conv1" in key}


@pytest.mark.slow
def test_true_architecture_is_trained_in_both_stages_and_repeats_itself(tmp_path, tiny_encoder):
    options = ClipOptions(clip=Clip(weights="random"))
    plain = tiny.tiny_training()
    training = tiny.tiny_training(
        readout=plain.readout.model_copy(update={"epochs": 2}),
        finetune=plain.finetune.model_copy(update={"epochs": 1, "batch_size": 8, "learning_rate": 1e-4}),
    )
    once, again = (
        _train(tmp_path / name, tiny_encoder, options=options, training=training) for name in ("once", "again")
    )
    assert _bytes(once[0]) == _bytes(again[0])
    stages = json.loads((once[0] / "metrics.json").read_text())["training"]["stages"]
    assert [stage["epochs"] for stage in stages] == [2, 1]


def test_every_partition_is_trained_by_clip_and_its_variants_and_the_baselines_beside_it():
    study = Study(models=("image", "clip"), splits=Splits(folds=5, repeats=3))
    models = ("image", "image-f25", "clip", "clip-random", "mean", "magpie-forest", "magpie-forest-f25")
    folds = [len(series_folds(study, model)) for model in models]
    assert folds == [5, 5, 15, 15, 15, 15, 5]
    assert len(series_folds(Study(models=("image",), splits=Splits(folds=5, repeats=3)), "mean")) == 5


def test_twin_is_the_same_network_from_random_weights():
    study = Study(models=("clip",))
    twin = changed_study(study, "clip-random")
    assert twin.clip == study.clip.model_copy(update={"weights": "random"})
    assert changed_study(study, "clip-f25").clip == study.clip
