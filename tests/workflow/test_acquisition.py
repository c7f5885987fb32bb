"""A study of the Materials Project, acquired by the real workflow and clients from a server that misbehaves."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from fake_mp import FakeMaterialsProject, Fault, plan_faults
from small_study import Workspace

from rhoflow.materials.digests import read_json
from rhoflow.materials.ids import shard_of
from rhoflow.sources.plan import shard_names

# Not `--until ingest`: in Snakemake 9.27 that ends at the checkpoint `plan` where this has not run before.
DENSITIES = ("--", *(f"results/small/raw/{shard:04d}.h5" for shard in range(4)))
# What becomes of a material whose object is wrong for good. `absent` is seen by the query, which takes the next task.
REASONS = {
    "500": {"download failed"},
    "truncated_gzip": {"truncated file"},
    "null": {"no density file"},
    "data_null": {"no density file"},
    "wrong_json": {"unreadable file"},
    "exchanged": {"checksum"},
}
API_FAULTS = {
    "/materials/summary/": Fault("429", retry_after=1),
    "/materials/core/": Fault("500"),
    "/materials/tasks/": Fault("reset"),
    "/materials/robocrys/": Fault("slow"),
}


def acquire(folder: Path, project: Path, *, dos: bool = False, **source: Any) -> Workspace:
    workspace = Workspace(folder, project)
    workspace.configure(source={"kind": "materials_project", "stable": False} | source, shards=4, dos=dos)
    return workspace


def digests(workspace: Workspace) -> dict[str, str]:
    """Content hash of every density."""
    found: dict[str, str] = {}
    for path in sorted(workspace.root.glob("raw/*.digest.json")):
        shard = read_json(path)
        assert not found.keys() & shard.keys()
        found |= shard
    return found


def rejections(workspace: Workspace) -> dict[str, str]:
    """Reason by id, of the query and of the reading."""
    entries = read_json(workspace.root / "catalog/rejected.json")
    for path in workspace.root.glob("raw/*.summary.json"):
        entries |= read_json(path)["rejected"]
    return {material_id: entry["reason"] for material_id, entry in entries.items()}


@pytest.fixture(scope="module")
def undisturbed(
    running_mp: FakeMaterialsProject, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    workspace = acquire(tmp_path_factory.mktemp("undisturbed"), project, keep_downloads=True)
    with pytest.MonkeyPatch.context() as patch:
        running_mp.order({})
        running_mp.activate(patch)
        ran = workspace.run(*DENSITIES)
        (workspace.folder / "terminal.txt").write_text(ran.output)
        yield workspace


def test_two_hundred_materials_with_a_tenth_of_faults_end_complete(
    undisturbed: Workspace, fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path
) -> None:
    faults = plan_faults(fake_mp.materials, 0.1, seed=1) | API_FAULTS
    sound = {
        m.id: task.key
        for m in fake_mp.materials
        if m.visible and (task := m.expected().task) and task.key not in faults
    }
    *others, exchanged = sorted(sound)
    faults[sound[exchanged]] = Fault("exchanged", times=None)
    # The first downloads of each shard take long, so that those of two shards meet.
    for shard in shard_names(4):
        first = [material_id for material_id in others if shard_of(material_id, 4) == shard][:4]
        faults |= {sound[material_id]: Fault("slow") for material_id in first}
    fake_mp.order(faults)
    workspace = acquire(tmp_path, project, connections=2)
    ran = workspace.run("--cores", "4", "--resources", "download=4", *DENSITIES)
    assert fake_mp.api_key not in ran.output
    # Two shards at a time with two downloads each: the limit of the profile is one of all shards together.
    assert 2 < fake_mp.most_at_once() <= 4
    # Every fault struck.
    struck = fake_mp.happened()
    assert {key for key, fault in faults.items() if fault.kind != "absent"} <= {key for key, _ in struck}
    # Nothing is lost: each material is there or rejected, and only those that are beyond help are rejected.
    got, rejected = digests(workspace), rejections(workspace)
    before = rejections(undisturbed)
    assert not got.keys() & rejected.keys()
    assert rejected[exchanged] == "checksum"  # as large as what was listed, and as good, but another
    assert got.keys() | rejected.keys() == digests(undisturbed).keys() | before.keys()
    lasting = {key: fault.kind for key, fault in faults.items() if fault.times is None}
    for material_id in rejected.keys() - before.keys():
        newest = fake_mp[material_id].expected(("GGA", "GGA+U")).task
        assert newest is not None
        kind = lasting[newest.key]
        assert kind == "absent" or rejected[material_id] in REASONS[kind]
    # What is there is what an undisturbed acquisition has, fetched once.
    moved = {material_id for material_id in got if fake_mp.expected(material_id).skipped}
    assert {key: got[key] for key in got.keys() - moved} == {
        key: digest for key, digest in digests(undisturbed).items() if key in got.keys() - moved
    }
    taken = {fake_mp.expected(material_id).task.key for material_id in got}  # type: ignore[union-attr]
    slow = {key for key, fault in faults.items() if fault.kind == "slow"}  # it came late but whole
    assert {key: n for key, n in fake_mp.fetched().items() if key in taken - slow} == dict.fromkeys(taken - slow, 1)


def test_second_run_asks_nobody(undisturbed: Workspace, fake_mp: FakeMaterialsProject) -> None:
    ran = undisturbed.run(*DENSITIES)
    assert ran.jobs == []
    assert fake_mp.log() == []


def test_kept_downloads_are_the_objects(undisturbed: Workspace, fake_mp: FakeMaterialsProject) -> None:
    kept = {path.name: path for path in (undisturbed.folder / "downloads").rglob("*.json.gz")}
    tasks = [fake_mp.expected(key).task for key in digests(undisturbed)]
    assert kept.keys() == {Path(task.key).name for task in tasks if task}
    assert all(kept[Path(task.key).name].read_bytes() == fake_mp.object(task.key) for task in tasks if task)


def test_key_is_in_no_file_and_no_message(undisturbed: Workspace, fake_mp: FakeMaterialsProject) -> None:
    secret = fake_mp.api_key.encode()
    files = [path for path in undisturbed.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert "of 7 steps (100%) done" in (undisturbed.folder / "terminal.txt").read_text()
    assert [path for path in files if secret in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("key", "says"),
    [("", "MP_API_KEY"), ("wrongwrongwrongwrongwrongwrongwr", "MP_API_KEY"), ("short", "32 characters")],
)
def test_key_that_opens_nothing_is_told_in_the_terminal(
    key: str, says: str, fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_API_KEY", key)
    ran = acquire(tmp_path, project).run("--until", "query", fails=True)
    assert says in ran.output
    assert "Traceback" not in ran.output
    assert not key or key not in ran.output


@pytest.mark.slow
def test_densities_of_states_come_by_the_real_rules(
    fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the user's own AWS credentials in the environment, of which delta-rs refuses one half alone."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    workspace = acquire(tmp_path, project, dos=True, keep_downloads=True, limit=8)
    workspace.run(*DENSITIES)
    monkeypatch.setenv("MP_API_KEY", "")  # they lie in the public bucket
    workspace.run(DENSITIES[0], *(name.replace("raw", "dos") for name in DENSITIES[1:]))
    ids = [entry["id"] for path in workspace.root.glob("plan/*.json") for entry in read_json(path)["materials"]]
    found = set()
    for path in workspace.root.glob("dos/*.h5"):
        with h5py.File(path) as file:
            found |= set(file)
    assert found == {key for key in ids if fake_mp[key].dos_task}
    assert len(found) >= 4
    assert len(list((workspace.folder / "downloads").rglob("*.json.gz"))) == len(digests(workspace)) > 0


@pytest.mark.slow
def test_ten_kills_end_in_the_same_content(
    undisturbed: Workspace, fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path
) -> None:
    workspace = acquire(tmp_path, project)
    chance = random.Random(0)
    struck = 0
    for _ in range(40):
        at_work = workspace.kill_after(chance.uniform(0.0, 12.0), *DENSITIES)
        missing = [path for path in DENSITIES[1:] if not (workspace.folder / path).exists()]
        struck += at_work and bool(missing)
        workspace.run("--unlock")
        if struck == 10:
            break
        if not missing:  # nothing was left to do: all over again
            shutil.rmtree(workspace.root)
            shutil.rmtree(workspace.folder / "scratch")
    assert struck == 10
    workspace.run(*DENSITIES)
    assert digests(workspace) == digests(undisturbed)
    assert rejections(workspace) == rejections(undisturbed)
