"""What reruns after which change: WORKFLOW's table, counted on jobs that really ran."""

from __future__ import annotations

import os

from rhoflow.materials.ids import shard_of
from tests.workflow.conftest import STUDY, Workspace

ALTERED = "NaCl_rocksalt"
STAGES = ("describe", "grids", "ingest", "slices")


def shard_jobs(material_id: str) -> list[str]:
    return [f"{stage}/{shard_of(material_id, STUDY['shards'])}" for stage in STAGES]


def test_unchanged_study_runs_nothing(finished: Workspace) -> None:
    ran = finished.run()
    assert ran.jobs == []
    assert "Nothing to be done" in ran.output


def test_altered_density_reruns_its_shard_and_who_sees_it(workspace: Workspace, alter_density) -> None:
    alter_density(workspace.folder / "crystals" / ALTERED)
    ran = workspace.run()
    assert ran.shards == shard_jobs(ALTERED)
    # The structure, hence the text, is the same: no text training.
    assert ran.trainings == [
        *("fusion/formation_energy_per_atom.formula", "fusion/k_vrh.formula"),
        *("image/formation_energy_per_atom", "image/k_vrh"),
    ]


def test_touched_file_and_reordered_rows_retrain_nothing(workspace: Workspace) -> None:
    workspace.properties = workspace.properties.sample(frac=1, random_state=1)
    os.utime(workspace.folder / "crystals" / ALTERED / "CHGCAR.xz")
    ran = workspace.run()
    assert ran.jobs == ["catalog", "plan"] or (ran.shards == [] and ran.trainings == [])


def test_altered_target_value_retrains_that_target(workspace: Workspace) -> None:
    table = workspace.properties
    table.loc[table.material_id == ALTERED, "k_vrh_GPa"] += 1.0
    workspace.properties = table
    ran = workspace.run()
    assert ran.shards == []
    assert ran.trainings == ["fusion/k_vrh.formula", "image/k_vrh", "text/k_vrh.formula"]


def test_added_and_broken_crystals(workspace: Workspace, demo) -> None:
    pass


def test_report_option_reruns_the_report_only(workspace: Workspace) -> None:
    workspace.configure(report={"bootstrap": 101, "examples": 2})
    ran = workspace.run()
    assert ran.shards == []
    assert ran.trainings == []
    assert set(ran.jobs) == {"tables", "figures", "provenance", "report"}
