"""A study over a real SLURM: the same bytes as on one machine, and reruns of what a change touches alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from chaos.disturbed import RUN, SMALLER, Disturbed, study_of
from chaos.faults import SBATCH_GPU
from small_study import CRYSTALS, alter_density

from rhoflow.materials.digests import read_json
from rhoflow.materials.ids import shard_of

ALTERED = "NaCl_rocksalt"


def digests(workspace: Disturbed) -> dict[str, dict[str, str]]:
    """Content hashes of all stores, by their names."""
    return {path.name: read_json(path) for path in sorted(workspace.root.glob("*/*.digest.json"))}


def queue() -> str:
    return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("slurm")
def test_study_over_slurm_has_the_bytes_of_the_local_run(
    undisturbed: Disturbed, project: Path, demo: Path, tmp_path: Path
) -> None:
    workspace = study_of(tmp_path, project, demo, CRYSTALS)
    workspace.executor = "slurm"
    (tmp_path / "disk-gpu1").mkdir()
    local_disk = f"image:local_disk={tmp_path}/disk-$SLURMD_NODENAME"  # a variable of the compute node
    said = workspace.succeeds("--set-resources", *SBATCH_GPU, local_disk, "--", RUN)
    assert f"GB in {tmp_path}/disk-gpu1" in (workspace.folder / "logs/small/image/k_vrh.none.log").read_text()
    # catalog, ingest, three stages of the shard together, clean, train; the rest is too small for a job of its own.
    assert said.count("has been submitted with SLURM jobid") == 5, said
    assert digests(workspace) == digests(undisturbed)
    assert len(digests(workspace)) == 4
    assert workspace.results() == undisturbed.results()
    assert len(workspace.results()) == 4
    # Whoever asks again submits nothing.
    said = workspace.succeeds("--", RUN)
    assert "submitted" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_altered_material_reruns_its_shard_and_the_trainings_that_see_it(
    project: Path, demo: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    workspace = study_of(tmp_path, project, demo, CRYSTALS)
    (tmp_path / "encoder").symlink_to(tiny_encoder)
    workspace.configure(**SMALLER | {"models": ["image", "text"], "shards": 2})
    asked = ("--", RUN, RUN.replace("image", "text").replace("none", "formula"))
    said = workspace.succeeds(*asked)
    alter_density(workspace.folder / "crystals" / ALTERED)
    workspace.executor = "slurm"
    before = workspace._logs()
    said = workspace.succeeds(*asked)
    ran = {job for job, when in workspace._logs().items() if before.get(job) != when}
    shard = shard_of(ALTERED, 2)
    stages = {f"{stage}/{shard}" for stage in ("ingest", "grids", "slices", "describe")}
    assert {job for job in ran if "/" in job and job.split("/")[0] != "slurm"} == {*stages, "image/k_vrh.none"}
    # catalog, ingest, the shard's group, clean, one training
    assert said.count("has been submitted with SLURM jobid") == 5, said
