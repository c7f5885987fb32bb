"""The names that the Snakefile reads agree with the registries, which are too heavy for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import pytest

from rhoflow.config import Study
from rhoflow.config.networks import NetworkName
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS
from rhoflow.training.names import (
    BASELINE_LEVELS,
    NETWORK_LEVELS,
    OPTIONAL_BASELINES,
    base_of,
    baseline_kinds,
    network_kinds,
    parent_of,
    plain_kinds,
    run_level,
    series_targets,
    view_level,
)

LEVELS = ("formula", "all")
EVERYTHING: dict[str, Any] = {
    "random": ("image", "text", "fusion"),
    "side": ("image", "fusion"),
    "fractions": (25, 75),
    "shuffled": ("image", "text"),
    "images": {"spin": {"field": "spin"}},
}


def _study(**changes: Any) -> Study:
    return Study.model_validate({"levels": LEVELS} | changes)


def test_names_are_light_to_import() -> None:
    heavy = "{'sklearn', 'matminer', 'pandas', 'numpy', 'torch', 'pyarrow'}"
    code = f"import sys, rhoflow.training.names; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_networks_and_their_levels_are_those_of_the_registry() -> None:
    assert set(NETWORK_LEVELS) == set(NETWORKS) == set(get_args(NetworkName))
    for name, level in network_kinds(_study(models=tuple(NETWORKS))):
        assert run_level(name, level) == level


def test_a_model_on_text_runs_at_every_level_and_the_others_once() -> None:
    study = _study(models=("text", "image"))
    assert network_kinds(study) == [("text", "formula"), ("text", "all"), ("image", "none")]
    assert baseline_kinds(study)[-2:] == [("tfidf-ridge", "formula"), ("tfidf-ridge", "all")]
    assert len(baseline_kinds(study)) == len(BASELINE_LEVELS) - len(OPTIONAL_BASELINES) + 1


def test_a_further_baseline_runs_only_where_it_is_asked_for() -> None:
    asked, plain = baseline_kinds(_study(baselines=("chgnet-ridge",))), baseline_kinds(_study())
    assert set(asked) - set(plain) == {("chgnet-ridge", "structure")}
    assert {name for name, _ in asked} == set(BASELINE_LEVELS)


@pytest.mark.parametrize(
    ("model", "split"),
    [
        ("image", ("image", "")),
        ("image-f25", ("image", "f25")),
        ("fusion-shuffled-text", ("fusion", "shuffled-text")),
        ("magpie-forest", ("magpie-forest", "")),
        ("magpie-forest-f50", ("magpie-forest", "f50")),
        ("quantiles-ridge-random", ("quantiles-ridge", "random")),
        ("llm", ("llm", "")),
    ],
)
def test_a_series_is_a_base_and_what_is_changed(model: str, split: tuple[str, str]) -> None:
    assert base_of(model) == split


@pytest.mark.parametrize("model", ["imag", "imagef25", "forest-f25", ""])
def test_an_unknown_series_is_refused_with_the_known_ones(model: str) -> None:
    with pytest.raises(StudyError, match="is none of image"):
        base_of(model)


def test_every_variant_asked_for_is_a_series_of_its_readers() -> None:
    series = {model for model, _ in [*network_kinds(_study(ablation=EVERYTHING)), *baseline_kinds(_study())]}
    changed = {
        "image": {"random", "side", "f25", "f75", "shuffled-image", "spin"},
        "text": {"random", "f25", "f75", "shuffled-text"},
        "fusion": {"random", "side", "f25", "f75", "shuffled-image", "shuffled-text", "spin"},
    }
    wanted = {f"{base}-{variant}" for base, variants in changed.items() for variant in variants}
    assert series - {*changed, *BASELINE_LEVELS} == wanted


def test_baselines_have_learning_curves_and_the_changes_of_what_they_read() -> None:
    kinds = baseline_kinds(_study(ablation=EVERYTHING, baselines=OPTIONAL_BASELINES))
    assert [kind for kind in kinds if base_of(kind[0])[1] in ("shuffled-image", "shuffled-text", "spin")] == [
        ("pixels-ridge-shuffled-image", "none"),
        ("pixels-ridge-spin", "none"),
        ("tfidf-ridge-shuffled-text", "formula"),
    ]
    assert {model for model, _ in kinds if model.endswith("-f25")} == {f"{name}-f25" for name in BASELINE_LEVELS}


def test_series_without_changes_are_the_same_with_and_without_ablation() -> None:
    for kinds in (network_kinds, baseline_kinds):
        assert plain_kinds(kinds(_study(ablation=EVERYTHING))) == kinds(_study())


@pytest.mark.parametrize(("levels", "there"), [((), ["formula"]), (("all", "formula"), ["all", "formula"])])
def test_variants_run_at_the_levels_of_the_ablation(levels: tuple[str, ...], there: list[str]) -> None:
    kinds = network_kinds(_study(ablation={"fractions": (25,), "levels": levels}))
    assert [level for model, level in kinds if model == "text-f25"] == there
    assert [level for model, level in kinds if model == "image-f25"] == ["none"]


@pytest.mark.parametrize(("levels", "there"), [((), LEVELS), (("all",), ("all",))])
def test_twins_run_at_all_levels_unless_told_otherwise(levels: tuple[str, ...], there: tuple[str, ...]) -> None:
    ablation = {"random": ("image", "text", "fusion"), "fractions": (25,), "random_levels": levels}
    kinds = network_kinds(_study(ablation=ablation))
    for model in ("text-random", "fusion-random"):
        assert tuple(level for name, level in kinds if name == model) == there
    assert [level for name, level in kinds if name == "image-random"] == ["none"]
    assert [level for name, level in kinds if name == "fusion-f25"] == ["formula"]


def test_models_limit_the_networks_but_neither_twins_nor_baselines() -> None:
    study = _study(ablation={"random": ("text",), "fractions": (25,), "models": ("image",)})
    changed = {model for model, _ in network_kinds(study) if base_of(model)[1]}
    assert changed == {"image-f25", "text-random"}
    assert ("pixels-ridge-f25", "none") in baseline_kinds(study)


def test_variants_are_trained_for_the_targets_of_the_ablation() -> None:
    study = _study(ablation={"fractions": (25,), "targets": ("k_vrh",)})
    assert series_targets(study, "image-f25") == ("k_vrh",)
    assert series_targets(study, "image") == study.targets
    assert series_targets(_study(), "image-f25") == study.targets


@pytest.mark.parametrize(
    ("model", "image", "text"),
    [
        ("fusion", "image", "text"),
        ("fusion-random", "image-random", "text-random"),
        ("fusion-f25", "image-f25", "text-f25"),
        ("fusion-shuffled-image", "image-shuffled-image", "text"),
        ("fusion-shuffled-text", "image", "text-shuffled-text"),
        ("fusion-spin", "image-spin", "text"),
        ("fusion-side", "image-side", "text"),
    ],
)
def test_fusion_is_built_on_the_series_that_share_its_change(model: str, image: str, text: str) -> None:
    assert (parent_of(model, "image"), parent_of(model, "text")) == (image, text)


@pytest.mark.parametrize("kind", ["penultimate", "scalar"])
def test_every_parent_of_a_series_is_a_series(kind: str) -> None:
    study = _study(ablation=EVERYTHING, fusion={"kind": kind})
    kinds = network_kinds(study)
    for model, level in kinds:
        entry = NETWORKS[base_of(model)[0]]
        for parent in entry.parents(entry.take_options(study)):
            assert (parent_of(model, parent), run_level(parent, level)) in kinds


@pytest.mark.parametrize(("kind", "parents"), [("penultimate", ("image", "text")), ("scalar", ("image",))])
def test_scalar_fusion_is_built_on_the_image_run_alone(kind: str, parents: tuple[str, ...]) -> None:
    study = _study(fusion={"kind": kind})
    entry = NETWORKS["fusion"]
    assert entry.parents(entry.take_options(study)) == parents


def test_other_images_have_views_of_their_own() -> None:
    assert view_level("fusion-spin", "none") == "none-spin"
    assert view_level("fusion-spin", "formula") == "formula"
    assert view_level("image-shuffled-image", "none") == "none"
    assert view_level("pixels-ridge-f25", "none") == "none"
