"""CLIP in the workflow: trained on every partition of the splits, by the real snakemake, with a tiny random CLIP."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from small_study import CRYSTALS, Workspace, add_crystal
from tiny import write_tiny_clip

CLIP = {"model": "clip", "weights": "random"}
# With this seed no part of the 14 crystals is too small, in neither partition.
SPLITS = {"folds": 2, "test": 0.2, "repeats": 2, "seed": 5}


def test_clip_and_its_twin_have_a_job_a_fold_of_every_partition_and_nothing_else_has(
    tmp_path: Path, project: Path, demo: Path, tiny_encoder: Path
) -> None:
    workspace = Workspace(tmp_path, project)
    for name in CRYSTALS:
        add_crystal(tmp_path, demo, name)
    shutil.copy(demo / "properties.csv", tmp_path / "crystals/properties.csv")
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    workspace.configure(
        models=["image", "clip"],
        splits=SPLITS | {"repeats": 3},
        targets=["k_vrh"],
        training=workspace.training | {"pack": "run"},
        ablation={"random": ["clip"], "fractions": [50], "models": ["image"]},
    )
    dot = workspace.run("--dag").output
    jobs = Counter(re.findall(r'label = "(?:image|clip)[^"]*model: (\S+?)\\n', dot))
    assert jobs == {"image": 2, "image-f50": 2, "clip": 6, "clip-random": 6}


@pytest.mark.slow
def test_small_study_of_clip_runs_to_its_tables_and_is_then_done(workspace: Workspace) -> None:
    write_tiny_clip(workspace.folder / "clip")
    workspace.configure(models=["clip"], clip=CLIP, splits=SPLITS, targets=["k_vrh"], ablation={"random": ["clip"]})
    ran = workspace.run()
    assert {job for job in ran.jobs if job.startswith("clip")} == {"clip/k_vrh.formula", "clip-random/k_vrh.formula"}
    tests = {}
    for fold in range(4):
        run = workspace.root / f"runs/clip/k_vrh/formula/fold{fold}/seed0"
        assert json.loads((run / "metrics.json").read_text())["fold"] == fold
        table = pd.read_parquet(run / "predictions.parquet")
        tests[fold] = set(table[table["part"] == "test"].iloc[:, 0])
    assert tests[0] == tests[1]
    assert tests[2] == tests[3]
    assert tests[0] != tests[2]
    assert "CLIP" in (workspace.root / "tables/results.md").read_text()
    # The baselines were fitted on the same partitions.
    compared = pd.read_csv(workspace.root / "tables/clip_trials_tests.csv")
    assert set(compared["reference"]) == {"mean", "magpie-forest", "pixels-ridge", "quantiles-ridge", "clip-random"}
    assert set(compared["folds"]) == {4}
    assert workspace.run().jobs == []


@pytest.mark.slow
def test_killed_training_of_clip_ends_with_the_bytes_of_an_undisturbed_one(workspace: Workspace) -> None:
    write_tiny_clip(workspace.folder / "clip")
    epochs = workspace.training | {"finetune": {"epochs": 30, "patience": 30, "batch_size": 4}}
    workspace.configure(models=["clip"], clip=CLIP, splits=SPLITS, targets=["k_vrh"], training=epochs)
    run = "runs/clip/k_vrh/formula/fold3/seed0"
    names = ("metrics.json", "predictions.parquet", "history.csv", "model.safetensors")
    target = str((workspace.root / run / "metrics.json").relative_to(workspace.folder))
    first = workspace.folder / "scratch/small/clip/k_vrh/formula/fold0/seed0/done"
    workspace.kill_when(first, "--", target)
    assert not (workspace.root / run / "metrics.json").exists()  # the folder is made before the job
    workspace.run("--unlock")
    workspace.run("--", target)
    resumed = {name: (workspace.root / run / name).read_bytes() for name in names}
    shutil.rmtree(workspace.root / "runs/clip")
    shutil.rmtree(workspace.folder / "scratch/small/clip")
    workspace.run("--", target)
    assert {name: (workspace.root / run / name).read_bytes() for name in names} == resumed
