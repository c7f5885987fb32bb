"""Kills and bad input: at most the job in flight is lost, and one bad material never stops a run."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import pytest
from small_study import Workspace, add_crystal

METRICS = "runs/*/*/*/fold*/seed*/metrics.json"


def metrics(workspace: Workspace) -> dict[str, bytes]:
    return {str(path.relative_to(workspace.root)): path.read_bytes() for path in workspace.root.glob(METRICS)}


def test_killed_training_ends_in_the_same_bytes(workspace: Workspace) -> None:
    undisturbed = metrics(workspace)
    shutil.rmtree(workspace.folder / "scratch")  # or the finished runs there would be adopted
    for path in workspace.root.glob("runs/image/*/*/*/*/model.safetensors"):
        path.unlink()
    first = workspace.folder / "scratch/small/image/k_vrh/none/fold0/seed0/done/metrics.json"
    workspace.kill_when(first)
    workspace.run("--unlock")
    ran = workspace.run()
    assert "adopted" in (workspace.folder / "logs/small/image/k_vrh.log").read_text()
    assert "image/k_vrh" in ran.trainings
    assert metrics(workspace) == undisturbed


def test_bad_materials_are_rejected_with_their_reason_and_the_run_goes_on(workspace: Workspace, demo: Path) -> None:
    crystals = workspace.folder / "crystals"
    add_crystal(workspace.folder, demo, "AgCl_rocksalt")
    whole = lzma.decompress((crystals / "AgCl_rocksalt/CHGCAR.xz").read_bytes())
    broken = {
        "empty": b"",
        "stub": b"this is not a charge density\n",
        "cut": whole[: len(whole) // 2],
        "letters": whole[:-2000] + b" spoiled " + whole[-1991:],
        "a b": whole,
    }
    for name, content in broken.items():
        (crystals / name).mkdir()
        (crystals / name / "CHGCAR").write_bytes(content)
    (crystals / "nothing").mkdir()
    ran = workspace.run()
    # Nothing is trained again: no good material came or went.
    assert ran.trainings == []
    assert "nothing" in (workspace.root / "report.html").read_text()
    reasons = dict(workspace.rejected()[["material_id", "reason"]].itertuples(index=False))
    assert reasons == {
        "empty": "empty file",
        "stub": "truncated file",
        "cut": "truncated file",
        "letters": "unreadable file",
        "a b": "bad id",
        "nothing": "no density file",
        "AgCl_rocksalt": "property missing",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slcies": {}}, "slcies: unknown key (did you mean 'slices'?)"),
        ({"targets": ["k_vhr"]}, "unknown target 'k_vhr' (did you mean 'k_vrh'?)"),
        ({"source": {"path": "nowhere"}}, "nowhere"),
        ({"splits": {"folds": 1}}, "splits.folds = 1"),
    ],
    ids=["unknown key", "unknown target", "no folder", "one fold"],
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
