"""What variants change, and that they change nothing else."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoflow.config import Fusion, Study
from rhoflow.dataset.load import View
from rhoflow.dataset.names import PARTS
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS
from rhoflow.training.evaluate import RunKey
from rhoflow.training.pack import run_digest, train_pack
from rhoflow.training.variants import changed_study, changed_view, shuffled_rows, with_images_of


def _key(model: str, level: str = "none", fold: int = 0, seed: int = 0) -> RunKey:
    return RunKey(model, "k_vrh", level, fold, seed)


@st.composite
def views(draw: st.DrawFn) -> View:
    """Views of 8 to 40 materials, at least two a part, each input telling whose it is."""
    n = draw(st.integers(8, 40))
    names = draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n, unique=True))
    part = draw(st.lists(st.sampled_from(PARTS), min_size=n - 8, max_size=n - 8))
    number = np.arange(n)
    return View(
        ids=np.array(sorted(f"m{name:07d}" for name in names)),
        part=np.array([*PARTS, *PARTS, "train", "train", *part]),
        y=number.astype(np.float64),
        images=np.tile(number[:, None, None], (1, 2, 2)).astype(np.float32),
        texts=tuple(f"text {row}" for row in number),
        side=np.column_stack([number, number]).astype(np.float64),
    )


def _same(a: View, b: View) -> list[str]:
    """Names of the fields in which two views agree."""
    return [field.name for field in fields(View) if np.array_equal(getattr(a, field.name), getattr(b, field.name))]


@settings(deadline=None)
@given(views(), st.integers(0, 4), st.lists(st.integers(50, 99), min_size=2, max_size=4, unique=True).map(sorted))
def test_fractions_are_nested_and_leave_other_parts_whole(view: View, fold: int, shares: list[int]) -> None:
    kept = [changed_view(view, _key(f"image-f{share}", fold=fold)) for share in shares]
    train = [set(one.ids[one.rows("train")]) for one in kept] + [set(view.ids[view.rows("train")])]
    assert all(less <= more for less, more in itertools.pairwise(train))
    n = len(train[-1])
    assert [len(ids) for ids in train[:-1]] == [round(n * share / 100) for share in shares]
    for one in kept:
        for part in ("val", "test"):
            assert set(one.ids[one.rows(part)]) == set(view.ids[view.rows(part)])
        # Every material keeps its own row.
        row = {material: number for number, material in enumerate(view.ids)}
        assert [row[material] for material in one.ids] == one.y.tolist() == one.side[:, 0].tolist()
        assert one.texts == tuple(f"text {int(y)}" for y in one.y)


@settings(deadline=None)
@given(views(), st.randoms(use_true_random=False))
def test_fraction_of_a_material_depends_on_ids_and_fold_alone(view: View, random: object) -> None:
    other = replace(view, y=view.y * 2 + 1, images=view.images + 1)
    for model, key in (("image-f50", _key("image-f50")), ("text-f50", _key("text-f50", "formula", seed=3))):
        assert changed_view(other, key).ids.tolist() == changed_view(view, _key("image-f50")).ids.tolist(), model


def test_folds_draw_different_fractions() -> None:
    view = tiny.tiny_data(n=60)
    one, other = (changed_view(view, _key("image-f50", fold=fold)).ids.tolist() for fold in (0, 1))
    assert one != other


def test_new_material_moves_at_most_one_out_of_a_fraction() -> None:
    view = tiny.tiny_data(n=61)
    before = set(changed_view(_rows(view, 60), _key("image-f50")).ids)
    after = set(changed_view(view, _key("image-f50")).ids)
    assert len(before - after) <= 1


def _rows(view: View, n: int) -> View:
    return View(view.ids[:n], view.part[:n], view.y[:n], images=view.images[:n], texts=view.texts[:n])


def test_fraction_of_too_few_materials_is_refused_with_the_remedy() -> None:
    with pytest.raises(StudyError, match=r"ablation.fractions: 5 % of 12 .* are 1 \(image-f5/.*take that share out"):
        changed_view(tiny.tiny_data(), _key("image-f5"))


@settings(deadline=None)
@given(views(), st.integers(0, 4), st.integers(0, 3), st.sampled_from(["shuffled-image", "shuffled-text"]))
def test_shuffle_is_a_permutation_of_each_part_in_which_nobody_keeps_his(
    view: View, fold: int, seed: int, variant: str
) -> None:
    giver = shuffled_rows(view, _key(f"fusion-{variant}", "formula", fold, seed))
    for part in PARTS:
        rows = view.rows(part)
        assert sorted(giver[rows]) == rows.tolist()
        assert not (giver[rows] == rows).any()


@settings(deadline=None)
@given(views(), st.sampled_from(["image", "text"]))
def test_shuffle_changes_its_input_alone(view: View, what: str) -> None:
    key = _key(f"fusion-shuffled-{what}", "formula")
    changed = changed_view(view, key)
    inputs = {"image": ["images", "side"], "text": ["texts"]}[what]
    assert _same(view, changed) == [field.name for field in fields(View) if field.name not in inputs]
    giver = shuffled_rows(view, key)
    if what == "image":
        # An image takes its side values along.
        assert changed.images[:, 0, 0].tolist() == changed.side[:, 1].tolist() == giver.tolist()
    else:
        assert changed.texts == tuple(f"text {row}" for row in giver)


def test_shuffle_is_the_same_for_every_model_and_another_for_every_seed_and_fold() -> None:
    view = tiny.tiny_data(n=60)

    def shuffled(model: str, level: str, fold: int = 0, seed: int = 0) -> list[int]:
        return shuffled_rows(view, _key(f"{model}-shuffled-image", level, fold, seed)).tolist()

    assert shuffled("image", "none") == shuffled("fusion", "all") == shuffled("pixels-ridge", "none")
    assert shuffled("image", "none") != shuffled("image", "none", seed=1)
    assert shuffled("image", "none") != shuffled("image", "none", fold=1)


@pytest.mark.parametrize("model", ["image", "image-random", "image-spin"])
def test_other_variants_see_the_data_as_they_are(model: str) -> None:
    view = tiny.tiny_data()
    assert changed_view(view, _key(model)) is view


def test_image_and_text_are_joined_for_the_materials_of_both() -> None:
    view = tiny.tiny_data()
    texts = replace(view, images=None)
    pictures = replace(view, texts=None)
    assert _same(with_images_of(texts, pictures), view) == [field.name for field in fields(View)]
    fewer = View(view.ids[3:], view.part[3:], view.y[3:], images=view.images[3:] + 1)
    joined = with_images_of(texts, fewer)
    assert joined.ids.tolist() == fewer.ids.tolist()
    assert joined.texts == view.texts[3:]
    assert np.array_equal(joined.images, fewer.images)


# Twins


def test_twin_differs_from_its_base_in_the_weights_alone() -> None:
    study = Study()
    base, twin = study.model_dump(), changed_study(study, "fusion-random").model_dump()
    for section in ("image", "language", "clip"):
        assert base[section].pop("weights") != "random"
        assert twin[section].pop("weights") == "random"
    assert twin == base
    for other in ("image", "image-f25", "fusion-shuffled-text", "image-spin"):
        assert changed_study(study, other) is study


def test_side_inputs_are_all_that_their_variant_has_more() -> None:
    study = Study()
    base, side = study.model_dump(), changed_study(study, "image-side").model_dump()
    assert (base["image"].pop("side_inputs"), side["image"].pop("side_inputs")) == (False, True)
    assert side == base


@pytest.mark.parametrize("model", ["image", "text", "fusion"])
def test_variant_draws_the_random_numbers_of_its_base(model: str) -> None:
    """Batches, dropout and augmentation are those of the base."""
    for variant in ("random", "f25", "shuffled-image", "spin"):
        for purpose in (("weights",), ("finetune", "dropout", 3)):
            assert _key(f"{model}-{variant}").random_seed(*purpose) == _key(model).random_seed(*purpose)
    assert _key(model).random_seed("weights") != _key(model, seed=1).random_seed("weights")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A pretrained text network, its twin, and the fusion networks on both."""
    root = tmp_path_factory.mktemp("twins")
    for model in ("image", "image-random", "text", "text-random", "fusion-random", "fusion-shuffled-image"):
        train_pack(_pack(root, tiny_encoder, model), [(0, 0)], tiny.tiny_data)
        if model == "image-random":
            train_pack(_pack(root, tiny_encoder, "image-shuffled-image"), [(0, 0)], tiny.tiny_data)
    return root


def _pack(root: Path, encoder: Path, model: str) -> tiny.Pack:
    base = model.split("-")[0]
    study = Study(**dict(tiny.tiny_options(encoder)))
    return tiny.tiny_pack(
        root,
        encoder,
        model,
        options=NETWORKS[base].take_options(changed_study(study, model)),
        frozen=True,
    )


def _state(root: Path, model: str, level: str = "formula") -> dict[str, np.ndarray]:
    weights = safetensors.torch.load_file(_key(model, level).folder(root) / "model.safetensors")
    return {name: value.numpy() for name, value in weights.items()}


def test_pretrained_backbone_and_its_twins_are_different(root: Path, tiny_encoder: Path) -> None:
    """Frozen backbones show the weights that the fit starts from."""
    given = {
        f"backbone.model.{name}": value.numpy()
        for name, value in safetensors.torch.load_file(tiny_encoder / "model.safetensors").items()
    }
    base, twin = (_state(root, model) for model in ("text", "text-random"))
    assert base.keys() == twin.keys()
    matrix = "backbone.model.encoder.layer.0.attention.self.query.weight"
    assert (base[matrix] == given[matrix]).all()
    assert not np.isclose(twin[matrix], given[matrix]).any()


def test_twin_of_a_scalar_fusion_has_a_random_text_encoder(tiny_encoder: Path) -> None:
    """It reads its own text weights, not those of a run."""
    given = safetensors.torch.load_file(tiny_encoder / "model.safetensors")
    study = Study(**dict(tiny.tiny_options(tiny_encoder)) | {"fusion": Fusion(kind="scalar")})
    matrix = "encoder.layer.0.attention.self.query.weight"
    for model, pretrained in (("fusion", True), ("fusion-random", False)):
        entry = NETWORKS["fusion"]
        state = entry.make(entry.take_options(changed_study(study, model)), {}).state_dict()
        assert bool((state[f"backbone.text.model.{matrix}"] == given[matrix]).all()) == pretrained


def test_metrics_of_a_twin_say_random_and_the_rest_as_its_base(root: Path) -> None:
    base, twin = (
        json.loads((_key(model, "formula").folder(root) / "metrics.json").read_text())
        for model in ("text", "text-random")
    )
    assert twin["training"]["weights"] == {"text": "random"}
    assert base["training"]["weights"] != twin["training"]["weights"]
    for name in ("target", "level", "fold", "seed", "unit", "n", "scaler"):
        assert twin[name] == base[name]


@pytest.mark.parametrize(
    ("model", "image", "text"),
    [("fusion-random", "image-random", "text-random"), ("fusion-shuffled-image", "image-shuffled-image", "text")],
)
def test_fusion_variant_is_built_on_the_runs_that_share_its_change(
    root: Path, model: str, image: str, text: str
) -> None:
    state = _state(root, model)
    for name, parent in {"image": _state(root, image, "none"), "text": _state(root, text)}.items():
        for key in (key for key in parent if key.startswith("readout.hidden.")):
            assert (state[f"backbone.hidden.{name}.{key.removeprefix('readout.hidden.')}"] == parent[key]).all()


def test_digest_of_a_run_tells_variants_apart(tmp_path: Path, tiny_encoder: Path) -> None:
    """Even where a study's own weights are random, so that twin and base have equal settings and data."""
    view = tiny.tiny_data()
    digests = set()
    for model in ("image", "image-random", "image-f50", "image-shuffled-image", "image-spin"):
        pack = _pack(tmp_path, tiny_encoder, model)
        digests.add(run_digest(pack, pack.key(0, 0), changed_view(view, pack.key(0, 0))))
    assert len(digests) == 5
