"""What a search is told of its study."""

from __future__ import annotations

from pathlib import Path

import pytest

from rhoflow.config import KNOWN_NETWORKS, Study, load_study, read_study_file
from rhoflow.training.search.names import SECTIONS


@pytest.mark.parametrize("name", ["multimodal", "multimodal-v1"])
def test_sections_that_a_search_is_told_are_a_study(name: str, project: Path) -> None:
    """Of a scalar fusion without a text network too, which nothing but ``fusion.kind`` allows."""
    study = read_study_file(project / f"studies/{name}.yaml")
    for model in KNOWN_NETWORKS.keys() & set(study.models):
        searched = load_study(study.model_dump(mode="json") | {"search": {"models": [model]}})
        told = searched.model_dump_json(include={*SECTIONS, *KNOWN_NETWORKS[model].sections})
        assert Study.model_validate_json(told).search == searched.search
