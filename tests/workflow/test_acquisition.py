"""A study of the Materials Project, acquired by the real workflow and clients from a server that misbehaves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_mp import FakeMaterialsProject, plan_faults
from small_study import Workspace

from rhoflow.materials.digests import read_json

# Not `--until ingest`: in Snakemake 9.27 that ends at the checkpoint `plan` where this has not run before.
DENSITIES = ("--", *(f"results/small/raw/{shard:04d}.h5" for shard in range(4)))
# What becomes of a material whose object is wrong for good. `absent` is seen by the query, which takes the next task.
REASONS = {
    "500": {"download failed"},
    "truncated_gzip": {"truncated file"},
    "null": {"no density file"},
    "data_null": {"no density file"},
    "wrong_json": {"unreadable file"},
}


def acquire(folder: Path, project: Path) -> Workspace:
    workspace = Workspace(folder, project)
    workspace.configure(source={"kind": "materials_project", "stable": False}, shards=4)
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
    workspace = acquire(tmp_path_factory.mktemp("undisturbed"), project)
    with pytest.MonkeyPatch.context() as patch:
        running_mp.order({})
        running_mp.activate(patch)
        workspace.run(*DENSITIES)
        yield workspace


def test_two_hundred_materials_with_a_tenth_of_faults_end_complete(
    undisturbed: Workspace, fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path
) -> None:
    faults = plan_faults(fake_mp.materials, 0.1, seed=1)
    fake_mp.order(faults)
    workspace = acquire(tmp_path, project)
    workspace.run(*DENSITIES)
    # Every fault struck.
    struck = fake_mp.happened()
    assert {key for key, fault in faults.items() if fault.kind != "absent"} <= {key for key, _ in struck}
    # Nothing is lost: each material is there or rejected, and only those that are beyond help are rejected.
    got, rejected = digests(workspace), rejections(workspace)
    before = rejections(undisturbed)
    assert not got.keys() & rejected.keys()
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


def test_key_is_in_no_file_and_no_message(undisturbed: Workspace, fake_mp: FakeMaterialsProject) -> None:
    secret = fake_mp.api_key.encode()
    files = [path for path in undisturbed.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
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
def test_ten_kills_end_in_the_same_content(
    undisturbed: Workspace, fake_mp: FakeMaterialsProject, project: Path, tmp_path: Path
) -> None:
    workspace = acquire(tmp_path, project)
    chance = random.Random(0)
    killed = 0
    while killed < 10:
        killed += workspace.kill_after(chance.uniform(2.0, 15.0), *DENSITIES)
        workspace.run("--unlock")
    workspace.run(*DENSITIES)
    assert digests(workspace) == digests(undisturbed)
    assert rejections(workspace) == rejections(undisturbed)
