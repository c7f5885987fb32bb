import pytest

from rhoflow.config import ImageModel, Section, Study
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS
from rhoflow.models.registry import Registry


class Options(Section):
    image: ImageModel


def _registry():
    registry = Registry("network")

    @registry.register("image", options=Options)
    def make(options, parents):
        return options

    return registry


def test_entry_knows_what_it_needs():
    entry = _registry()["image"]
    assert (entry.name, entry.options, entry.parents(None)) == ("image", Options, ())


def test_duplicate_name_raises():
    with pytest.raises(ValueError, match=r"network 'image' is already registered by .*; choose another name"):
        _registry().register("image", options=Options)(lambda options, parents: None)


def test_duplicate_leaves_the_first_in_place():
    registry = _registry()
    first = registry["image"].make
    with pytest.raises(ValueError, match="already registered"):
        registry.register("image", options=Options)(lambda options, parents: None)
    assert registry["image"].make is first


def test_unknown_name_lists_near_and_known_ones():
    with pytest.raises(
        StudyError, match=r"unknown network 'fusoin' \(did you mean 'fusion'\?\); known: image, text, fusion"
    ):
        NETWORKS["fusoin"]


def test_options_are_taken_from_the_study_sections_of_the_same_name():
    study = Study()
    taken = NETWORKS["fusion"].take_options(study)
    assert taken.model_dump() == {
        "image": study.image.model_dump(),
        "language": study.language.model_dump(),
        "readout": study.readout.model_dump(),
        "fusion": study.fusion.model_dump(),
        "two_part": study.two_part,
    }
