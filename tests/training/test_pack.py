import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import tiny

from rhoflow.config import Fusion, ReadoutStage
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS
from rhoflow.properties import ZERO_UP_TO
from rhoflow.training import pack as module
from rhoflow.training.pack import run_digest, train_pack

FOLDS = [(0, 0), (1, 0)]
SAME = ("metrics.json", "predictions.parquet", "history.csv", "model.safetensors")
EPOCHS = 5 + 3  # of a tiny run, both stages, when nothing stops it early
TESTS = Path(tiny.__file__).parent


def _train(root, encoder, model="image", runs=FOLDS[:1], load=tiny.tiny_data, **changes):
    pack = tiny.tiny_pack(root, encoder, model, **changes)
    train_pack(pack, runs, load)
    return [pack.key(fold, seed).folder(root) for fold, seed in runs]


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_encoder):
    """Two folds of the image network, trained without any disturbance."""
    return _train(tmp_path_factory.mktemp("trained"), tiny_encoder, runs=FOLDS)


@pytest.fixture
def interrupt(monkeypatch):
    """Lets a training stop with an exception after some epochs, counted over all runs."""

    def after(epochs):
        class Stop(module._Teller):
            left = epochs

            def __call__(self, name, stage, state):
                Stop.left -= 1
                if Stop.left == 0:
                    raise InterruptedError

        monkeypatch.setattr(module, "_Teller", Stop)

    return after


def test_run_has_its_files_and_no_others(trained):
    for folder in trained:
        assert sorted(file.name for file in folder.iterdir()) == sorted([*SAME, "run.prov.json"])


def test_metrics_tell_weights_and_stages(trained):
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    training = metrics["training"]
    assert {key: metrics[key] for key in ("model", "target", "level", "fold", "seed", "unit")} == {
        "model": "image",
        "target": "k_vrh",
        "level": "none",
        "fold": 0,
        "seed": 0,
        "unit": "GPa",
    }
    assert metrics["n"] == {"train": 12, "val": 8, "test": 4}
    assert training["weights"] == {"image": "random"}
    assert [(stage["name"], stage["epochs"]) for stage in training["stages"]] == [("readout", 5), ("finetune", 3)]
    assert training["texts_cut"] == 0


def test_metrics_after_each_stage_are_kept(trained, tmp_path, tiny_encoder):
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    readout, finetune = metrics["training"]["stages"]
    assert finetune["metrics"] == metrics["metrics"]
    frozen = json.loads((_train(tmp_path, tiny_encoder, frozen=True)[0] / "metrics.json").read_text())
    assert readout["metrics"] == frozen["metrics"] == frozen["training"]["stages"][1]["metrics"]
    assert readout["metrics"] != finetune["metrics"]


def test_scaler_is_that_of_the_training_part_alone(trained):
    data = tiny.tiny_data(0)
    y = data.y[data.part == "train"]
    scaler = json.loads((trained[0] / "metrics.json").read_text())["scaler"]
    assert scaler == {"mean": pytest.approx(y.mean()), "std": pytest.approx(y.std())}
    assert scaler["mean"] != pytest.approx(data.y.mean(), rel=1e-3)


def test_history_has_the_documented_columns(trained):
    history = pd.read_csv(trained[0] / "history.csv")
    assert list(history.columns) == ["stage", "epoch", "lr", "train_loss", "val_loss", "val_rmse"]
    assert history["stage"].tolist() == ["readout"] * 5 + ["finetune"] * 3


def test_predictions_agree_with_the_metrics(trained):
    table = pd.read_parquet(trained[0] / "predictions.parquet")
    val = table[table["part"] == "val"]
    mae = json.loads((trained[0] / "metrics.json").read_text())["metrics"]["val"]["mae"]
    assert np.mean(np.abs(val["y_true"] - val["y_pred"])) == pytest.approx(mae)


def test_same_seed_same_bytes(trained, tmp_path, tiny_encoder):
    again = _train(tmp_path, tiny_encoder)
    assert _bytes(again[0]) == _bytes(trained[0])


def test_pack_of_one_and_pack_of_many_give_the_same_bytes(trained, tmp_path, tiny_encoder):
    alone = _train(tmp_path, tiny_encoder, runs=FOLDS[1:])
    assert _bytes(alone[0]) == _bytes(trained[1])


def test_another_seed_gives_another_network(trained, tmp_path, tiny_encoder):
    other = _train(tmp_path, tiny_encoder, runs=[(0, 1)])
    assert (other[0] / "model.safetensors").read_bytes() != (trained[0] / "model.safetensors").read_bytes()


@pytest.mark.parametrize("epochs", [1, 3, 5, 6, 8, EPOCHS + 2], ids=lambda epochs: f"after-{epochs}")
def test_run_resumed_after_an_exception_ends_with_the_same_bytes(trained, tmp_path, tiny_encoder, interrupt, epochs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_Teller", module._Teller)
        interrupt(epochs)
        with pytest.raises(InterruptedError):
            _train(tmp_path, tiny_encoder, runs=FOLDS)
        assert not (tmp_path / "runs").exists()
        interrupt(0)  # never
        resumed = _train(tmp_path, tiny_encoder, runs=FOLDS)
    assert [_bytes(folder) for folder in resumed] == [_bytes(folder) for folder in trained]


@pytest.fixture(scope="module")
def trained_with_everything(tmp_path_factory, tiny_encoder):
    """Two folds with every setting of the training on, without any disturbance."""
    root = tmp_path_factory.mktemp("everything")
    return _train(root, tiny_encoder, runs=FOLDS, **tiny.tiny_everything(tiny_encoder))


@pytest.mark.parametrize("epochs", [3, 6, 7, EPOCHS + 7], ids=lambda epochs: f"after-{epochs}")
def test_run_with_every_setting_is_resumed_with_the_same_bytes(
    trained_with_everything, trained, tmp_path, tiny_encoder, interrupt, epochs
):
    changes = tiny.tiny_everything(tiny_encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_Teller", module._Teller)
        interrupt(epochs)
        with pytest.raises(InterruptedError):
            _train(tmp_path, tiny_encoder, runs=FOLDS, **changes)
        interrupt(0)  # never
        resumed = _train(tmp_path, tiny_encoder, runs=FOLDS, **changes)
    assert [_bytes(folder) for folder in resumed] == [_bytes(folder) for folder in trained_with_everything]
    assert _bytes(resumed[0]) != _bytes(trained[0])


def test_pack_of_one_with_every_setting_has_the_bytes_of_many(trained_with_everything, tmp_path, tiny_encoder):
    alone = _train(tmp_path, tiny_encoder, runs=FOLDS[1:], **tiny.tiny_everything(tiny_encoder))
    assert _bytes(alone[0]) == _bytes(trained_with_everything[1])


def test_min_max_scaled_run_has_metrics_in_physical_units(trained_with_everything):
    folder = trained_with_everything[0]
    metrics = json.loads((folder / "metrics.json").read_text())
    data = tiny.tiny_data(0)
    y = data.y[data.part == "train"]
    assert metrics["scaler"] == {"mean": y.min(), "std": np.ptp(y)}
    table = pd.read_parquet(folder / "predictions.parquet")
    assert sorted(table["y_true"]) == sorted(data.y)
    history = pd.read_csv(folder / "history.csv")
    assert metrics["metrics"]["val"]["rmse"] == pytest.approx(history["val_rmse"].min(), rel=1e-4)
    np.testing.assert_allclose(history["val_rmse"], np.ptp(y) * np.sqrt(history["val_loss"]), rtol=1e-6)


def test_resumed_run_does_not_repeat_what_was_saved(tmp_path, tiny_encoder, interrupt, monkeypatch):
    interrupt(6)
    with pytest.raises(InterruptedError):
        _train(tmp_path, tiny_encoder)
    seen = []

    class Listen(module._Teller):
        def __call__(self, name, stage, state):
            seen.append((name, state.epoch))

    monkeypatch.setattr(module, "_Teller", Listen)
    _train(tmp_path, tiny_encoder)
    assert seen == [("finetune", 2), ("finetune", 3)]


KILLED = """
import os, signal, sys
from pathlib import Path
import tiny
from rhoflow.training import pack as module

class Kill(module._Teller):
    left = int(sys.argv[3])
    def __call__(self, name, stage, state):
        Kill.left -= 1
        if Kill.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

module._Teller = Kill
encoder = Path(sys.argv[2])
changes = tiny.tiny_everything(encoder) if sys.argv[4] == "everything" else {}
pack = tiny.tiny_pack(Path(sys.argv[1]), encoder, **changes)
module.train_pack(pack, [(0, 0), (1, 0)], tiny.tiny_data)
"""


@pytest.mark.parametrize("settings", ["plain", "everything"])
def test_pack_resumed_after_sigkill_ends_with_the_same_bytes(request, tmp_path, tiny_encoder, capfd, settings):
    everything = settings == "everything"
    undisturbed = request.getfixturevalue("trained_with_everything" if everything else "trained")
    changes = tiny.tiny_everything(tiny_encoder) if everything else {}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(tiny_encoder), str(EPOCHS + 4), settings]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    resumed = _train(tmp_path, tiny_encoder, runs=FOLDS, **changes)
    assert [_bytes(folder) for folder in resumed] == [_bytes(folder) for folder in undisturbed]
    assert "image/k_vrh/none/fold0/seed0: finished earlier, adopted" in capfd.readouterr().err


def _finish_first_of_two(root, encoder, interrupt):
    interrupt(EPOCHS + 1)
    with pytest.raises(InterruptedError):
        _train(root, encoder, runs=FOLDS)
    interrupt(0)


def test_finished_run_of_a_killed_pack_is_adopted_untouched(tmp_path, tiny_encoder, interrupt, capfd):
    _finish_first_of_two(tmp_path, tiny_encoder, interrupt)
    waiting = tmp_path / "scratch/image/k_vrh/none/fold0/seed0/done/run.prov.json"
    told_then = waiting.read_bytes()
    folders = _train(tmp_path, tiny_encoder, runs=FOLDS)
    assert (folders[0] / "run.prov.json").read_bytes() == told_then
    assert capfd.readouterr().err.count("adopted") == 1


@pytest.mark.parametrize("change", ["data", "training"])
def test_finished_run_of_other_data_or_settings_is_not_adopted(tmp_path, tiny_encoder, interrupt, capfd, change):
    _finish_first_of_two(tmp_path, tiny_encoder, interrupt)
    data = (lambda fold: tiny.tiny_data(fold, n=30)) if change == "data" else tiny.tiny_data
    training = tiny.tiny_training() if change == "data" else tiny.tiny_training(readout=ReadoutStage(epochs=4))
    _train(tmp_path, tiny_encoder, runs=FOLDS, load=data, training=training)
    assert "adopted" not in capfd.readouterr().err


@pytest.fixture
def lost(tmp_path, trained):
    """The scratch of two trained folds without their results, which Snakemake removes before it runs a job anew."""
    shutil.copytree(trained[0].parents[5] / "scratch", tmp_path / "scratch")
    return tmp_path


def test_finished_run_is_adopted_in_another_pack(lost, trained, tiny_encoder, interrupt, capfd):
    interrupt(1)  # at the first epoch that is trained
    alone = _train(lost, tiny_encoder, runs=FOLDS[1:], training=tiny.tiny_training(pack="run"))
    assert _bytes(alone[0]) == _bytes(trained[1])
    assert (alone[0] / "run.prov.json").read_bytes() == (trained[1] / "run.prov.json").read_bytes()
    assert capfd.readouterr().err.count("adopted from") == 1


def test_one_seed_more_trains_that_seed_only(lost, trained, tiny_encoder, interrupt):
    interrupt(EPOCHS + 1)
    folders = _train(lost, tiny_encoder, runs=[*FOLDS, (0, 1)])
    assert [_bytes(folder) for folder in folders[:2]] == [_bytes(folder) for folder in trained]


def test_published_weights_take_no_space_of_their_own(lost, tiny_encoder):
    folder = _train(lost, tiny_encoder)[0]
    waiting = lost / "scratch" / folder.relative_to(lost / "runs") / "done"
    assert (folder / "model.safetensors").samefile(waiting / "model.safetensors")
    assert not (waiting.parent / "resume.pt").exists()


def test_results_on_another_file_system_are_copies(lost, trained, tiny_encoder, monkeypatch):
    def refuse(self, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    folder = _train(lost, tiny_encoder)[0]
    assert _bytes(folder) == _bytes(trained[0])


def test_frozen_backbone_stops_after_the_readout(tmp_path, tiny_encoder):
    folder = _train(tmp_path, tiny_encoder, "text", frozen=True)[0]
    stages = json.loads((folder / "metrics.json").read_text())["training"]["stages"]
    assert stages[1]["stopped"] == "frozen by config"


def test_cut_texts_are_counted_in_the_metrics(tmp_path, tiny_encoder):
    options = tiny.tiny_options(tiny_encoder)
    short = options.model_copy(update={"language": options.language.model_copy(update={"max_tokens": 4})})
    folder = _train(tmp_path, tiny_encoder, "text", frozen=True, options=NETWORKS["text"].take_options(short))[0]
    longer = [text for text in tiny.tiny_data().texts if text != "Ti."]  # "Ti." is [CLS] ti . [SEP]
    assert json.loads((folder / "metrics.json").read_text())["training"]["texts_cut"] == len(longer)
    assert 0 < len(longer) < len(tiny.tiny_data().ids)


def test_fusion_takes_the_runs_of_the_same_fold_and_seed(tmp_path, tiny_encoder):
    image = _train(tmp_path, tiny_encoder, "image")[0]
    text = _train(tmp_path, tiny_encoder, "text", frozen=True)[0]
    fusion = _train(tmp_path, tiny_encoder, "fusion", frozen=True)[0]
    state = safetensors.torch.load_file(fusion / "model.safetensors")
    for name, folder in {"image": image, "text": text}.items():
        parent = safetensors.torch.load_file(folder / "model.safetensors")
        for key in (key for key in parent if key.startswith("readout.hidden.")):
            assert (state[f"backbone.hidden.{name}.{key.removeprefix('readout.hidden.')}"] == parent[key]).all()


def test_scalar_fusion_trains_on_its_image_run_in_both_stages(tmp_path, tiny_encoder):
    image = _train(tmp_path, tiny_encoder, "image")[0]
    options = tiny.tiny_options(tiny_encoder).model_copy(update={"fusion": Fusion(kind="scalar")})
    fusion = _train(tmp_path, tiny_encoder, "fusion", options=options)[0]
    stages = json.loads((fusion / "metrics.json").read_text())["training"]["stages"]
    assert [stage["epochs"] > 0 for stage in stages] == [True, True]
    state = safetensors.torch.load_file(fusion / "model.safetensors")
    parent = safetensors.torch.load_file(image / "model.safetensors")
    assert {key.removeprefix("backbone.image.") for key in state if key.startswith("backbone.image.")} == set(parent)


def _with_side(fold):
    data = tiny.tiny_data(fold)
    return replace(data, side=np.column_stack([data.y, np.arange(len(data.ids))]))


def test_side_values_are_standardised_on_the_training_part_of_each_fold(tmp_path, tiny_encoder):
    options = tiny.tiny_options(tiny_encoder)
    image = options.image.model_copy(update={"side_inputs": True})
    beside = {"options": NETWORKS["image"].take_options(options.model_copy(update={"image": image})), "frozen": True}
    together = _train(tmp_path, tiny_encoder, runs=FOLDS, load=_with_side, **beside)
    for fold, folder in enumerate(together):
        data = _with_side(fold)
        train = data.side[data.part == "train"]
        state = safetensors.torch.load_file(folder / "model.safetensors")
        np.testing.assert_allclose(state["backbone.mean"], train.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(state["backbone.std"], train.std(axis=0), rtol=1e-6)
    alone = _train(tmp_path / "alone", tiny_encoder, runs=FOLDS[1:], load=_with_side, **beside)
    assert _bytes(alone[0]) == _bytes(together[1])  # features cached for one fold are not another's


def test_fusion_without_its_parents_says_what_comes_first(tmp_path, tiny_encoder):
    with pytest.raises(
        StudyError, match=r"image/k_vrh/none/fold0/seed0/model\.safetensors is missing: that run comes"
    ):
        _train(tmp_path, tiny_encoder, "fusion")


def test_digest_depends_on_what_the_result_depends_on(tmp_path, tiny_encoder):
    data = tiny.tiny_data()

    def digest(data=data, **changes):
        pack = tiny.tiny_pack(tmp_path, tiny_encoder, **changes)
        return run_digest(pack, pack.key(0, 0), data)

    options = tiny.tiny_options(tiny_encoder)
    wider = options.model_copy(update={"readout": options.readout.model_copy(update={"dropout": 0.3})})
    base = digest()
    assert digest(training=tiny.tiny_training(pack="run")) == base
    assert digest(training=tiny.tiny_training(frozen_levels=())) == base
    assert digest(data=tiny.tiny_data(1)) != base
    assert digest(training=tiny.tiny_training(threads=2)) != base
    assert digest(frozen=True) != base
    assert digest(options=NETWORKS["image"].take_options(wider)) != base


def test_digest_depends_on_what_counts_as_zero_where_there_are_two_parts(tmp_path, tiny_encoder, monkeypatch):
    def digests(zero):
        monkeypatch.setitem(ZERO_UP_TO, "k_vrh", zero)
        options = tiny.tiny_options(tiny_encoder)
        for one in (options, options.model_copy(update={"two_part": True})):
            pack = tiny.tiny_pack(tmp_path, tiny_encoder, options=NETWORKS["image"].take_options(one))
            yield run_digest(pack, pack.key(0, 0), tiny.tiny_data())

    (one, two), (same, other) = digests(0.1), digests(0.2)
    assert one == same
    assert two != other
