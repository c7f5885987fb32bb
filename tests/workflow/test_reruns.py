"""What reruns after which change: the table of the incremental design, counted on jobs that really ran."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_study import STUDY, Ran, Workspace, add_crystal, alter_density

from rhoflow.materials.ids import shard_of

ALTERED = "NaCl_rocksalt"
ADDED = "AgCl_rocksalt"
STAGES = ("describe", "grids", "ingest", "slices")
TRAININGS = [
    *("fusion/formation_energy_per_atom.formula", "fusion/k_vrh.formula"),
    *("image/formation_energy_per_atom.none", "image/k_vrh.none"),
    *("text/formation_energy_per_atom.formula", "text/k_vrh.formula"),
]


def shard_jobs(*material_ids: str) -> list[str]:
    shards = {shard_of(material_id, STUDY["shards"]) for material_id in material_ids}
    return sorted(f"{stage}/{shard}" for stage in STAGES for shard in shards)


def test_unchanged_study_runs_nothing(finished: Workspace) -> None:
    ran = finished.run()
    assert ran.jobs == []
    assert "Nothing to be done" in ran.output


def test_altered_density_reruns_its_shard_and_the_trainings_that_see_it(
    workspace: Workspace, rerun: Callable[[Workspace], Ran]
) -> None:
    alter_density(workspace.folder / "crystals" / ALTERED)
    ran = rerun(workspace)
    assert ran.shards == shard_jobs(ALTERED)
    # Its structure, hence its text, is the same: no text training.
    assert ran.trainings == [job for job in TRAININGS if not job.startswith("text")]


@pytest.mark.slow
def test_change_that_an_interrupted_run_saw_is_not_forgotten(workspace: Workspace) -> None:
    alter_density(workspace.folder / "crystals" / ALTERED)
    workspace.run("--until", "clean")
    ran = workspace.run()
    assert ran.trainings == [job for job in TRAININGS if not job.startswith("text")]


def test_touched_file_and_reordered_rows_rerun_no_shard_and_no_training(workspace: Workspace) -> None:
    workspace.properties = workspace.properties.sample(frac=1, random_state=1)
    os.utime(workspace.folder / "crystals" / ALTERED / "CHGCAR.xz")
    ran = workspace.run()
    assert "catalog" in ran.jobs
    assert "hash files: 1/1, " in ran.output
    assert ran.shards == []
    assert ran.trainings == []


def test_altered_target_value_retrains_that_target_only_as_planned(workspace: Workspace) -> None:
    table = workspace.properties
    table.loc[table.material_id == ALTERED, "k_vrh_GPa"] += 1.0
    workspace.properties = table
    planned = workspace.plan()
    ran = workspace.run()
    assert planned.trainings == ran.trainings
    assert ran.shards == []
    assert ran.trainings == [job for job in TRAININGS if "k_vrh" in job]
    assert [job for job in ran.jobs if job.startswith("baselines")] == ["baselines/k_vrh"]
    # Long steps are watched in the terminal, not only in their logs.
    for step in ("train image k_vrh none: 2/2, ", "train text k_vrh formula: 2/2, ", "baselines k_vrh: "):
        assert step in ran.output


def test_added_material_reruns_its_shard_and_moves_nobody(
    workspace: Workspace, demo: Path, rerun: Callable[[Workspace], Ran]
) -> None:
    before = workspace.assignment()
    add_crystal(workspace.folder, demo, ADDED)
    rows = pd.read_csv(demo / "properties.csv")
    workspace.properties = pd.concat([workspace.properties, rows[rows.material_id == ADDED]])
    ran = rerun(workspace)
    assert ran.shards == shard_jobs(ADDED)
    assert ran.trainings == TRAININGS
    after = workspace.assignment()
    assert after.pop(ADDED) is not None
    assert after == before


@pytest.mark.slow
def test_removed_material_reruns_its_shard(workspace: Workspace) -> None:
    shutil.rmtree(workspace.folder / "crystals" / ALTERED)
    table = workspace.properties
    workspace.properties = table[table.material_id != ALTERED]
    ran = workspace.run()
    assert ran.shards == shard_jobs(ALTERED)
    assert ran.trainings == TRAININGS
    assert ALTERED not in workspace.assignment()


REPORTING = ["figures", "provenance", "report", "saliency", "tables"]


@pytest.fixture
def other_report(workspace: Workspace) -> Workspace:
    """The finished study with another option of the report, and with another level's freezing."""
    workspace.configure(
        report={"bootstrap": 101, "examples": 2}, training={**workspace.training, "frozen_levels": []}
    )
    return workspace


def test_report_option_and_another_levels_freezing_rerun_the_report_only(other_report: Workspace) -> None:
    told = other_report.run("--dry-run").output
    counted = dict(re.findall(r"^(\w+) +(\d+)$", told, re.MULTILINE))
    assert counted == dict.fromkeys(["all", *REPORTING], "1") | {"total": str(len(REPORTING) + 1)}


@pytest.mark.slow
def test_report_option_and_another_levels_freezing_ran_the_report_only(other_report: Workspace) -> None:
    assert sorted(other_report.run().jobs) == REPORTING


@pytest.mark.slow
def test_freezing_a_level_retrains_what_reads_it(workspace: Workspace) -> None:
    workspace.configure(training={**workspace.training, "frozen_levels": ["formula"]})
    assert workspace.run().trainings == [job for job in TRAININGS if not job.startswith("image")]


@pytest.mark.slow
def test_deleted_store_is_noticed_and_remade_the_same(workspace: Workspace) -> None:
    store = workspace.root / "slices" / f"{shard_of(ALTERED, STUDY['shards'])}.npz"
    content = store.read_bytes()
    store.unlink()
    ran = workspace.run()
    assert [job for job in ran.shards if job.startswith("slices")] == [f"slices/{store.stem}"]
    assert ran.trainings == []
    assert store.read_bytes() == content
