"""A search from a view to the file of chosen settings, and the trainings that read it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny

from rhoflow.config import Search, Study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json
from rhoflow.training import job as training_job
from rhoflow.training.pack import train_pack
from rhoflow.training.search import job as module
from rhoflow.training.search.job import search_job
from rhoflow.training.search.names import chosen_file

DATA = tiny.tiny_data(n=30)
# Fine-tuned on two GPUs, of which a search uses one.
TRAINING = tiny.tiny_training(frozen_levels=(), devices=2)
FILE = chosen_file("image", "k_vrh", "none", 0)


def _study(options, kind="penultimate", **search):
    return Study(
        fusion={"kind": kind},
        image=options.image,
        language=options.language,
        readout=options.readout,
        training=TRAINING,
        search=Search(inner_folds=2, **({"models": ("image",), "trials": 2} | search)),
        seeds=(7, 8),
    )


@pytest.fixture
def search(tmp_path, monkeypatch, tiny_options):
    """Runs a search on a view and gives what it wrote, as bytes."""

    def run(data=DATA, model="image", level="none", folder="one", frozen=False, **options):
        kept = pd.DataFrame({"material_id": data.ids, "formula": "X", "prototype": "p"})
        monkeypatch.setattr(module, "load_inputs", lambda *_: data)
        monkeypatch.setattr(module, "read_kept", lambda _: kept)
        root, study = tmp_path / folder, _study(tiny_options, **options)
        search_job(
            study,
            root=root,
            scratch=root / "scratch",
            model=model,
            target="k_vrh",
            level=level,
            fold=0,
            frozen=frozen,
        )
        return (root / chosen_file(model, "k_vrh", level, 0)).read_bytes()

    return run


def _poisoned(part):
    """Other targets, images and texts for the materials of one part."""
    rows = part == DATA.part
    return dataclasses.replace(
        DATA,
        y=np.where(rows, 3 * DATA.y, DATA.y),
        images=np.where(rows[:, None, None], -DATA.images, DATA.images),
        texts=tuple("Os." if poisoned else text for poisoned, text in zip(rows, DATA.texts, strict=True)),
    )


def test_validation_and_test_materials_change_not_a_byte(search):
    plain = search()
    assert search(_poisoned("val"), folder="val") == plain
    assert search(_poisoned("test"), folder="test") == plain
    assert search(_poisoned("train"), folder="train") != plain


def test_best_trial_is_chosen_and_all_are_told(search, tmp_path):
    search(trials=3)
    found = read_json(tmp_path / "one" / FILE)
    scores = [trial["rmse"] for trial in found["trials"]]
    assert len(scores) == 3
    assert found["rmse"] == min(scores)
    assert found["values"] == found["trials"][scores.index(min(scores))]["values"]
    assert found["own_rmse"] == scores[0]
    assert (found["n"], found["inner_folds"], found["seed"]) == (len(DATA.rows("train")), 2, 7)


def test_score_is_the_error_of_a_fit_on_the_inner_folds(search, tmp_path, tiny_options):
    """Against a prediction by hand: a readout that learns nothing predicts its training mean, nearly."""
    search(trials=1, head_learning_rate=(1e-12, 1e-12), backbone_learning_rate=(1e-12, 1e-12))
    found = read_json(tmp_path / "one" / FILE)
    inner = module.inner_folds(DATA, {name: name for name in DATA.ids.tolist()}, 2)
    errors = np.concatenate([fold.y[fold.rows("val")] - fold.y[fold.rows("train")].mean() for fold in inner])
    assert found["rmse"] == pytest.approx(float(np.sqrt(np.mean(errors**2))), rel=0.5)


def test_fusion_trains_its_parents_inside_the_inner_folds(search, tmp_path, monkeypatch):
    """The study's image and text runs are not there, and what is trained in their place sees training materials."""
    seen = []

    def train(pack, runs, load):
        assert pack.training.devices == 1
        seen.append((pack.model, [set(load(fold).ids.tolist()) for fold, _ in runs]))
        train_pack(pack, runs, load)

    monkeypatch.setattr(module, "train_pack", train)
    search(model="fusion", level="formula", models=("fusion",))
    training = set(DATA.ids[DATA.rows("train")].tolist())
    assert seen == [("image", [training, training]), ("text", [training, training])]
    assert not (tmp_path / "one" / "scratch/search/fusion/k_vrh/formula/fold0/parents").exists()


def test_scalar_fusion_trains_no_text_network(search, monkeypatch):
    class StopError(Exception):
        pass

    def train(pack, runs, load):
        seen.append(pack.model)

    def stop(self, score, n):
        raise StopError

    seen = []
    monkeypatch.setattr(module, "train_pack", train)
    monkeypatch.setattr(module.Trials, "run", stop)
    with pytest.raises(StopError):
        search(model="fusion", level="formula", models=("fusion",), kind="scalar")
    assert seen == ["image"]


def test_fusion_builds_on_what_was_chosen_for_its_parents(search, tmp_path):
    with pytest.raises(StudyError, match=r"search/image/k_vrh/none/fold0.json is missing: the search comes first"):
        search(model="fusion", level="formula", models=("image", "fusion"))


def test_finished_search_is_not_run_again(search, monkeypatch):
    first = search()
    monkeypatch.setattr(module, "train_network", None)
    assert search() == first


def test_frozen_level_searches_the_readout_alone(search, tmp_path):
    search(model="text", level="all", frozen=True)
    found = read_json(tmp_path / "one" / chosen_file("text", "k_vrh", "all", 0))
    assert set(found["values"]) == {"head_learning_rate", "batch_size", "dropout", "weight_decay"}


def _pack_of(monkeypatch, tiny_options, root, model, searched):
    caught = []
    monkeypatch.setattr(training_job, "train_pack", lambda pack, *_: caught.append(pack))
    training_job.train_job(
        _study(tiny_options),
        root=root,
        scratch=root / "scratch",
        model=model,
        target="k_vrh",
        level="none",
        runs=[(0, 7), (0, 8)],
        frozen=False,
        searched=searched,
    )
    return caught[0]


@pytest.mark.parametrize("model", ["image", "image-random", "image-f25"])
def test_training_takes_what_was_chosen_for_its_base(tmp_path, monkeypatch, tiny_options, model):
    write_json(tmp_path / FILE, {"values": {"head_learning_rate": 5.5e-4, "dropout": 0.45}})
    pack = _pack_of(monkeypatch, tiny_options, tmp_path, model, searched=True).of_fold(0)
    assert (pack.training.readout.learning_rate, pack.options.readout.dropout) == (5.5e-4, 0.45)
    plain = _pack_of(monkeypatch, tiny_options, tmp_path, model, searched=False).of_fold(0)
    assert plain.training == TRAINING


def test_run_with_chosen_settings_says_so_and_is_not_the_run_without(tmp_path, tiny_encoder):
    values = {"head_learning_rate": 7e-4, "batch_size": 6}
    pack = tiny.tiny_pack(tmp_path, tiny_encoder, frozen=True, chosen={0: values})
    train_pack(pack, [(0, 0), (1, 0)], tiny.tiny_data)
    told = [read_json(pack.key(fold, 0).folder(tmp_path) / "metrics.json")["training"] for fold in (0, 1)]
    assert told[0]["chosen"] == values
    assert "chosen" not in told[1]
    rates = [pd.read_csv(pack.key(fold, 0).folder(tmp_path) / "history.csv")["lr"].unique() for fold in (0, 1)]
    assert [list(rate) for rate in rates] == [[7e-4], [3e-3]]
