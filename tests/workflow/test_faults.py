"""Kills and bad input: at most the job in flight is lost, and one bad material never stops a run."""

from __future__ import annotations

import itertools
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import STUDY, Ran, Workspace, add_crystal

from rhoflow.materials.ids import shard_of

METRICS = "runs/*/*/*/fold*/seed*/metrics.json"


def metrics(workspace: Workspace) -> dict[str, bytes]:
    return {str(path.relative_to(workspace.root)): path.read_bytes() for path in workspace.root.glob(METRICS)}


def test_killed_training_ends_in_the_same_bytes(workspace: Workspace) -> None:
    undisturbed = metrics(workspace)
    shutil.rmtree(workspace.folder / "scratch")  # or the finished runs there would be adopted
    for path in workspace.root.glob("runs/image/k_vrh/*/*/*/model.safetensors"):
        path.unlink()
    first = workspace.folder / "scratch/small/image/k_vrh/none/fold0/seed0/done/metrics.json"
    wanted = ("--", "results/small/runs/image/k_vrh/none/fold0/seed0/model.safetensors")
    workspace.kill_when(first, *wanted)
    workspace.run("--unlock")
    ran = workspace.run(*wanted)
    assert "adopted" in (workspace.folder / "logs/small/image/k_vrh.none.log").read_text()
    assert ran.trainings == ["image/k_vrh.none"]
    assert metrics(workspace) == undisturbed


UNLISTED = "AgCl_rocksalt"  # no row in the table of properties


def beside(name: str) -> str:
    """The name with a number that puts it into the shard of `UNLISTED`: one shard then reruns, not all."""
    names = (f"{name}{number}" for number in itertools.count())
    return next(one for one in names if shard_of(one, STUDY["shards"]) == shard_of(UNLISTED, STUDY["shards"]))


def test_bad_materials_are_rejected_with_their_reason_and_the_run_goes_on(
    workspace: Workspace, demo: Path, rerun: Callable[[Workspace], Ran]
) -> None:
    crystals = workspace.folder / "crystals"
    add_crystal(workspace.folder, demo, UNLISTED)
    whole = lzma.decompress((crystals / UNLISTED / "CHGCAR.xz").read_bytes())
    broken = {
        beside("empty"): b"",
        beside("stub"): b"this is not a charge density\n",
        beside("cut"): whole[: len(whole) // 2],
        beside("letters"): whole[:-2000] + b" spoiled " + whole[-1991:],
        "a b": whole,
    }
    for name, content in broken.items():
        (crystals / name).mkdir()
        (crystals / name / "CHGCAR").write_bytes(content)
    (crystals / "bare_folder").mkdir()
    ran = rerun(workspace)
    # Nothing is trained again: no good material came or went.
    assert ran.trainings == []
    assert len(ran.shards) == 4
    assert (rerun is Workspace.run) == ("bare_folder" in (workspace.root / "report.html").read_text())
    reasons = dict(workspace.rejected()[["material_id", "reason"]].itertuples(index=False))
    assert reasons == {
        beside("empty"): "empty file",
        beside("stub"): "truncated file",
        beside("cut"): "truncated file",
        beside("letters"): "unreadable file",
        "a b": "bad id",
        "bare_folder": "no density file",
        UNLISTED: "property missing",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slcies": {}}, "slcies: unknown key (did you mean 'slices'?)"),
        ({"source": {"path": "nowhere"}}, "nowhere"),
    ],
    ids=["unknown key", "no folder"],  # tests/test_config.py has all the others
)
def test_wrong_study_stops_before_anything_starts(workspace: Workspace, changes: dict, message: str) -> None:
    workspace.configure(**changes)
    ran = workspace.run(fails=True)
    assert ran.jobs == []
    assert message in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.slow
def test_impossible_fold_count_names_the_remedy(workspace: Workspace) -> None:
    workspace.configure(splits={"folds": 40})
    ran = workspace.run("--until", "splits", fails=True)
    assert "splits.folds" in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.slow
def test_pack_of_one_writes_the_same_bytes(workspace: Workspace) -> None:
    together = metrics(workspace)
    shutil.rmtree(workspace.folder / "scratch")
    workspace.configure(training={**workspace.training, "pack": "run"})
    ran = workspace.run("--until", "image")
    assert len([job for job in ran.trainings if job.startswith("image")]) == 4
    assert metrics(workspace) == together


@pytest.mark.slow
def test_trained_runs_are_adopted_by_other_packs(workspace: Workspace) -> None:
    def told() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in workspace.root.glob(METRICS.replace("metrics", "run.prov"))}

    together, when = metrics(workspace), told()
    workspace.configure(training={**workspace.training, "pack": "run"})
    workspace.run()
    assert metrics(workspace) == together
    assert told() == when
