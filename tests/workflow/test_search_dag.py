"""The search in the workflow: what a study with it would run, without running it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_study import CRYSTALS, Workspace, add_crystal


@pytest.fixture
def fresh(tmp_path: Path, project: Path, demo: Path, tiny_encoder: Path) -> Workspace:
    """The small study, before anything has run."""
    workspace = Workspace(tmp_path, project)
    for name in CRYSTALS:
        add_crystal(workspace.folder, demo, name)
    table = pd.read_csv(demo / "properties.csv")
    workspace.properties = table[table.material_id.isin(CRYSTALS)]
    shutil.copytree(tiny_encoder, workspace.folder / "encoder")
    return workspace


def test_search_is_a_job_a_series_and_fold(fresh: Workspace) -> None:
    fresh.configure(targets=["k_vrh"], search={"models": ["image", "fusion"]})
    told = fresh.run("--dry-run").output
    jobs = re.findall(r": Search settings of (\w+) \((\w+)\) -> k_vrh, fold (\d)", told)
    assert sorted(jobs) == [
        (model, level, fold) for model, level in (("fusion", "formula"), ("image", "none")) for fold in "01"
    ]
    assert re.search(r": Table of what the searches chose", told)


def test_study_without_a_search_has_no_such_job(fresh: Workspace) -> None:
    fresh.configure()
    assert "earch" not in fresh.run("--dry-run", "--quiet", "host").output
