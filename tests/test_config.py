"""What a wrong configuration is told."""

from __future__ import annotations

from typing import Any

import pytest

from rhoflow.config import ELEMENTS, load_study
from rhoflow.errors import StudyError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"slcies": {}}, r"slcies: unknown key \(did you mean 'slices'\?\)"),
    "unknown nested key": ({"slices": {"pixel": 9}}, r"slices.pixel: unknown key \(did you mean 'pixels'\?\)"),
    "unknown target": ({"targets": ["k_vhr"]}, r"unknown target 'k_vhr' \(did you mean 'k_vrh'\?\); known: nsites"),
    "impossible folds": ({"splits": {"folds": 1}}, r"splits.folds = 1: .* greater than or equal to 2"),
    "negative window": ({"slices": {"window": {"angstrom": -3}}}, r"slices.window.angstrom = -3: .* greater than 0"),
    "two windows": ({"slices": {"window": {"cells": 8, "angstrom": 9}}}, r"exactly one of cells and angstrom"),
    "null plane": ({"slices": {"plane": [0, 0, 0]}}, r"is no plane"),
    "fusion alone": ({"models": ["fusion"]}, r"list image and text too"),
    "path as name": ({"study": "../x"}, r"study = '../x'"),
    "plane misspelt": ({"slices": {"plane": "dense"}}, r"slices.plane = 'dense': Input should be 'densest'"),
    "plane of letters": ({"slices": {"plane": ["h", 1, 1]}}, r"slices.plane.0 = 'h': .* valid integer"),
    "through misspelt": ({"slices": {"through": "heavy"}}, r"through = 'heavy': .*did you mean 'heaviest'\?"),
    "through no element": ({"slices": {"through": "Xx"}}, r"through = 'Xx': must be heaviest, mean, an element's"),
    "through quoted number": ({"slices": {"through": "0.5"}}, r"through = '0.5': .* a number without quotes"),
    "through nowhere": ({"slices": {"through": float("nan")}}, r"slices.through = nan: must be heaviest"),
    "fence of minima turned round": (
        {"clean": {"fences": {"minimum": [0.2, 0.1], "maximum": [1, 2]}}},
        r"clean.fences.minimum = \[0.2, 0.1\]: the lowest allowed value comes first",
    ),
    "fence of maxima turned round": (
        {"clean": {"fences": {"minimum": [0.1, 0.2], "maximum": [2, 1]}}},
        r"clean.fences.maximum = \[2, 1\]: the lowest allowed value comes first",
    ),
    "unknown key of fences": (
        {"clean": {"fences": {"minimum": [0, 1], "maximum": [1, 2], "minimal": 0}}},
        r"clean.fences.minimal: unknown key \(did you mean 'minimum'\?\); allowed here: minimum, maximum",
    ),
    "unknown key of ablation": ({"ablation": {"fraction": [25]}}, r"ablation.fraction: .*did you mean 'fractions'\?"),
    "twin of fusion alone": (
        {"ablation": {"random": ["fusion"]}},
        r"ablation.random: fusion is built on the image and text runs of its kind; list image and text too",
    ),
    "scalar fusion without image": (
        {"models": ["text", "fusion"], "fusion": {"kind": "scalar"}},
        r"models: fusion is built on the image runs of its kind; list image too",
    ),
    "twin of a scalar fusion alone": (
        {"fusion": {"kind": "scalar"}, "ablation": {"random": ["text", "fusion"]}},
        r"ablation.random: fusion is built on the image runs of its kind; list image too",
    ),
    "twin of no model": (
        {"models": ["image"], "ablation": {"random": ["text"]}},
        r"ablation.random: 'text' is not among models, which are image; add it there, or take it out here",
    ),
    "ablation of no model": (
        {"models": ["image"], "ablation": {"models": ["text"]}},
        r"ablation.models: 'text' is not among models",
    ),
    "other images of a field that the archive lacks": (
        {"ablation": {"images": {"cores": {"field": "all_electron"}}}},
        r"ablation.images.cores.field = 'all_electron': the study's field is total, .* set field: all_elec",
    ),
    "other images with a bad setting": (
        {"ablation": {"images": {"wide": {"slices": {"window": {"angstrom": 20}}}}}},
        r"ablation.images.wide.slices.window = .*: give exactly one of cells and angstrom, and set the other to null",
    ),
    "two planes": ({"slices": {"planes": 2}}, r"slices.planes = 2: .*1 or 3"),
    "unknown strategy": (
        {"splits": {"strategy": "elements"}},
        r"splits.strategy = 'elements': .* or 'element'",
    ),
    "no repeat": ({"splits": {"repeats": 0}}, r"splits.repeats = 0: .*greater than or equal to 1"),
    "ablation of no target": (
        {"ablation": {"targets": ["k_vhr"]}},
        r"ablation.targets: 'k_vhr' is not among targets, .*did you mean 'k_vrh'\?",
    ),
    "ablation at no level": (
        {"levels": ["all"], "ablation": {"levels": ["formula"]}},
        r"ablation.levels: 'formula' is not among levels, which are all",
    ),
    "twins at no level": (
        {"levels": ["all"], "ablation": {"random_levels": ["formula"]}},
        r"ablation.random_levels: 'formula' is not among levels, which are all",
    ),
    "side inputs of a fusion alone": ({"ablation": {"side": ["fusion"]}}, r"ablation.side = .*: .* list image too"),
    "side inputs twice": (
        {"image": {"side_inputs": True}, "ablation": {"side": ["image"]}},
        r"ablation.side: image.side_inputs is true for the whole study",
    ),
    "share of everything": ({"ablation": {"fractions": [25, 100]}}, r"100 is no share from 1 to 99 %"),
    "share as a number below one": ({"ablation": {"fractions": [0.25]}}, r"ablation.fractions.0 = 0.25: .* integer"),
    "share twice": ({"ablation": {"fractions": [25, 25]}}, r"ablation.fractions = .* only once"),
    "shuffled density": ({"ablation": {"shuffled": ["density"]}}, r"ablation.shuffled.0 = .* 'image' or 'text'"),
    "images with a reserved name": ({"ablation": {"images": {"f25": {}}}}, r"'f25' means something else"),
    "images with a bad name": ({"ablation": {"images": {"Spin-1": {}}}}, r"'Spin-1' is no name for images"),
    "other images that are the same": (
        {"ablation": {"images": {"same": {"field": "total", "slices": {"pixels": 96}}}}},
        r"ablation.images.same: the study's own images again",
    ),
    "unknown key of other images": (
        {"ablation": {"images": {"spin": {"feild": "spin"}}}},
        r"ablation.images.spin.feild: unknown key \(did you mean 'field'\?\)",
    ),
    "unknown key of other slices": (
        {"ablation": {"images": {"wide": {"slices": {"pixel": 9}}}}},
        r"ablation.images.wide.slices.pixel: unknown key \(did you mean 'pixels'\?\)",
    ),
    "other slices with two windows": (
        {"ablation": {"images": {"wide": {"slices": {"window": {"angstrom": 9}}}}}},
        r"ablation.images.wide.slices.window = .*: give exactly one of cells and angstrom",
    ),
    "no readout": ({"readout": {"widths": []}}, r"readout.widths = \[\]: .* at least 1 item"),
    "empty layer": ({"readout": {"widths": [16, 0]}}, r"readout.widths.1 = 0: .* greater than or equal to 1"),
    "negative seed": ({"seeds": [0, -1]}, r"seeds.1 = -1: .* greater than or equal to 0"),
    "seed twice": ({"seeds": [0, 0]}, r"seeds .*only once"),
}


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_config_names_key_value_and_remedy(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(config)


def test_scalar_fusion_asks_for_no_text_network() -> None:
    scalar = {"models": ["image", "fusion"], "fusion": {"kind": "scalar"}}
    assert load_study(scalar | {"ablation": {"random": ["image", "fusion"]}}).models == ("image", "fusion")


def test_union_tags_are_no_part_of_the_path() -> None:
    with pytest.raises(StudyError) as caught:
        load_study({"slices": {"plane": "dense", "through": [1]}})
    keys = {line.removeprefix("config:").split("=")[0].strip() for line in str(caught.value).splitlines()}
    assert keys == {"slices.plane", "slices.through"}


@pytest.mark.parametrize("through", ["heaviest", "mean", "Cl", "U", 0.5, 0, -1])
def test_every_way_to_name_the_site_is_accepted(through: str | float) -> None:
    assert load_study({"slices": {"through": through}}).slices.through == through


def test_elements_are_those_of_the_periodic_table() -> None:
    from pymatgen.core import Element

    assert tuple(Element.from_Z(number).symbol for number in range(1, 119)) == ELEMENTS


def test_fence_may_be_a_single_value() -> None:
    fences = load_study({"clean": {"fences": {"minimum": [0, 0], "maximum": [1, 2]}}}).clean.fences
    assert fences is not None
    assert (fences.minimum, fences.maximum) == ((0, 0), (1, 2))


def test_other_images_lie_over_the_studys_own_key_by_key() -> None:
    wide = {"slices": {"window": {"cells": None, "angstrom": 9}, "plane": [1, 1, 0]}}
    study = load_study({"slices": {"pixels": 75}, "ablation": {"images": {"wide": wide, "spin": {"field": "spin"}}}})
    other, spin = study.with_images("wide"), study.with_images("spin")
    assert (other.slices.window.angstrom, other.slices.plane, other.slices.pixels) == (9, (1, 1, 0), 75)
    assert (other.field, spin.field, spin.slices) == ("total", "spin", study.slices)


def test_other_images_are_the_studys_own_but_for_what_is_given():
    study = load_study(
        {
            "field": "all_electron",
            "slices": {"pixels": 40, "clip": 99},
            "ablation": {
                "images": {
                    "total": {"field": "total"},
                    "three": {"slices": {"planes": 3, "window": {"cells": None, "angstrom": 9}}},
                }
            },
        }
    )
    total, three = study.with_images("total"), study.with_images("three")
    assert (total.field, total.slices) == ("total", study.slices)
    assert three.field == "all_electron"
    assert (three.slices.planes, three.slices.window.angstrom, three.slices.window.cells) == (3, 9, None)
    assert three.slices.model_dump(exclude={"planes", "window"}) == study.slices.model_dump(
        exclude={"planes", "window"}
    )
