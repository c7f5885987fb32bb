"""The language model in the workflow: what a study with it would run, without running it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_study import CRYSTALS, Workspace, add_crystal

MODELS = ["image", "text", "fusion", "llm"]


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


@pytest.mark.parametrize("dry_run", [True, False], ids=["estimate", "asked"])
def test_study_with_the_language_model_has_a_job_a_target_and_level(fresh: Workspace, dry_run: bool) -> None:
    fresh.configure(models=MODELS, llm={"dry_run": dry_run})
    told = fresh.run("--dry-run", "--quiet", "host").output
    jobs = re.findall(r": Ask the language model \((\w+)\) -> (\w+)", told)
    assert sorted(jobs) == [("formula", "formation_energy_per_atom"), ("formula", "k_vrh")]
    assert "results/small/llm/k_vrh.formula.json" in told
    run = "results/small/runs/llm/k_vrh/formula/fold1/seed0/metrics.json"
    tables = re.search(r"Make the tables.*?input: (.*?)\n", told, flags=re.DOTALL)
    assert tables is not None
    assert (run in tables[1].split(", ")) == (not dry_run)
    assert (run in told) == (not dry_run)


def test_study_without_the_language_model_has_no_such_job(fresh: Workspace) -> None:
    fresh.configure(llm={"dry_run": False})
    assert "Ask the language model" not in fresh.run("--dry-run").output
