"""Ingest from a bucket: nothing lost and nothing twice, whatever happens in between."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gzip
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure
from stand_in_bucket import StandInBucket
from vasp_text import NACL, chgcar_text, waves

from rhoflow.density import record, resume
from rhoflow.density.ingest import ingest_shard
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.archive import ArchiveWriter, read_ids, read_record
from rhoflow.materials.shards import ShardReport, summary_path
from rhoflow.sources import fetch
from rhoflow.sources.retries import OUTAGE

GRID = (8, 6, 7)
IDS = [f"mp-{k}" for k in range(6)]


def location(material_id: str) -> str:
    return f"s3://bucket/chgcars/{material_id}.json.gz"


def mp_object(k: int, structure: Structure = NACL, grid: tuple[int, int, int] = GRID) -> bytes:
    """An object as the Materials Project's bucket holds it."""
    data = {"total": {"data": waves(grid, 8, seed=k).tolist()}, "diff": {"data": waves(grid, 0, seed=k).tolist()}}
    document = {"data": {"poscar": {"structure": structure.as_dict()}, "data": data}}
    return gzip.compress(json.dumps(document).encode(), mtime=0)


OBJECTS = {location(key): mp_object(k) for k, key in enumerate(IDS)}


class Shard:
    """A plan of remote materials, and the stage on it."""

    def __init__(self, folder: Path, bucket: StandInBucket, ids: list[str]) -> None:
        self.folder, self.bucket = folder, bucket
        self.store = folder / "raw" / "0007.h5"
        self.scratch = folder / "scratch"
        self.entries = {key: self.entry(key) for key in ids}
        self.settings: dict[str, Any] = {"field": "total", "raw": "native", "shape": (6, 6, 6), "connections": 2}

    @staticmethod
    def entry(material_id: str, **changes: Any) -> dict[str, Any]:
        empty = {"structure": None, "run": None, "aeccar": [None] * 3, "dos": None, "sha256": None, "bytes": None}
        return {"id": material_id, "density": location(material_id), "key": f"key of {material_id}"} | empty | changes

    def run(self, **changes: Any) -> ShardReport:
        plan = self.folder / "0007.json"
        plan.write_text(
            json.dumps({"shard": "0007", "materials": [self.entries[key] for key in sorted(self.entries)]})
        )
        settings = self.settings | {"scratch": self.scratch, "keep": None} | changes
        return ingest_shard(plan, self.store, **settings)

    def run_fetching(self, **changes: Any) -> list[str]:
        """Run, and tell which materials were downloaded for it."""
        self.bucket.fetched.clear()
        self.run(**changes)
        return sorted(Path(name).name.removesuffix(".json.gz") for name in self.bucket.fetched)

    def outputs(self) -> list[bytes]:
        return [
            self.store.with_name(self.store.name + end).read_bytes() for end in ("", ".digest.json", ".summary.json")
        ]

    def forget_outputs(self) -> None:
        """What Snakemake does before it runs a job again."""
        for path in self.store.parent.glob(self.store.name + "*"):
            path.unlink()

    @property
    def records(self) -> list[Path]:
        return sorted(path for path in self.scratch.glob("0007/*.h5") if not path.name.startswith("_"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> StandInBucket:
    made = StandInBucket(dict(OBJECTS))
    monkeypatch.setattr(fetch, "Bucket", made)
    return made


@pytest.fixture
def shard(tmp_path: Path, bucket: StandInBucket) -> Shard:
    return Shard(tmp_path, bucket, IDS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Outputs of a run that nothing happened to."""
    bucket = StandInBucket(OBJECTS)
    shard = Shard(tmp_path_factory.mktemp("undisturbed"), bucket, IDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "Bucket", bucket)
        shard.run()
    return shard.outputs()


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def stop_at(shard: Shard, material_id: str) -> None:
    """Run until the download of a material, where the process ends."""
    shard.bucket.faults[location(material_id)] = Killed()
    with pytest.raises(Killed):
        shard.run()
    del shard.bucket.faults[location(material_id)]


# --- undisturbed


def test_objects_become_records_and_nothing_else_stays(shard: Shard) -> None:
    report = shard.run()
    assert list(report.digests) == IDS == read_ids(shard.store)
    found = read_record(shard.store, "mp-3")
    np.testing.assert_allclose(found.fields["total"] * NACL.volume, waves(GRID, 8, seed=3), rtol=1e-9)
    assert list(found.fields) == ["spin", "total"]
    assert shard.records == []
    assert not (shard.scratch / "0007" / "_downloads").exists()


def test_statistics_say_where_an_object_came_from(shard: Shard) -> None:
    stats = shard.run().stats["mp-2"]
    content = shard.bucket.objects[location("mp-2")]
    assert stats["source"] == location("mp-2")
    assert stats["sha256"] == fetch.hashlib.sha256(content).hexdigest()
    assert stats["bytes"] == len(content)


def test_local_and_remote_materials_mix(shard: Shard, tmp_path: Path) -> None:
    path = tmp_path / "CHGCAR"
    path.write_bytes(chgcar_text(NACL, [waves(GRID, 8)]))
    shard.entries["mp-25"] = Shard.entry("mp-25", density=str(path))
    assert list(shard.run().digests) == sorted([*IDS, "mp-25"])
    assert path.exists()


def test_kept_downloads_stay(shard: Shard, tmp_path: Path) -> None:
    shard.run(keep=tmp_path / "downloads")
    kept = sorted(path.name for path in (tmp_path / "downloads").rglob("*.json.gz"))
    assert kept == [f"{key}.json.gz" for key in IDS]


# --- bad objects

BAD = {
    "null": (gzip.compress(b"null"), Reason.NO_DENSITY),
    "null data": (gzip.compress(b'{"data": null}'), Reason.NO_DENSITY),
    "truncated gzip": (mp_object(0)[:-200], Reason.TRUNCATED),
    "no gzip inside": (b"\x1f\x8b" + b"garbage" * 9, Reason.UNREADABLE),
    "wrong JSON": (gzip.compress(b"<html>Service unavailable</html>"), Reason.UNREADABLE),
    "another document": (gzip.compress(b'{"detail": "not found"}'), Reason.UNREADABLE),
    "empty": (b"", Reason.EMPTY),
    "absent": (None, Reason.NO_DENSITY),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_object_is_a_rejection_that_names_the_object(shard: Shard, case: str) -> None:
    content, reason = BAD[case]
    if content is None:
        del shard.bucket.objects[location("mp-3")]
    else:
        shard.bucket.objects[location("mp-3")] = content
    report = shard.run()
    assert list(report.digests) == [key for key in IDS if key != "mp-3"]
    assert list(report.rejected) == ["mp-3"]
    assert report.rejected["mp-3"]["reason"] == reason.value
    detail = report.rejected["mp-3"]["detail"]
    assert detail.startswith(location("mp-3"))
    assert str(shard.scratch) not in detail


def test_bad_aeccar_is_named_as_the_object_too(shard: Shard) -> None:
    aeccar = [f"s3://bucket/aeccar{k}s/mp-3.json.gz" for k in (0, 2)]
    shard.bucket.objects |= dict.fromkeys(aeccar, mp_object(3)) | {aeccar[1]: b"garbage"}
    shard.entries["mp-3"]["aeccar"] = [aeccar[0], None, aeccar[1]]
    rejected = shard.run(field="all_electron").rejected["mp-3"]
    assert rejected["detail"].startswith(aeccar[1])


def test_downloads_of_a_killed_process_go_even_if_none_is_needed(shard: Shard) -> None:
    shard.run()
    shard.forget_outputs()
    (shard.scratch / "0007" / "_downloads").mkdir()
    (shard.scratch / "0007" / "_downloads" / "left.json.gz").write_bytes(b"x")
    assert shard.run_fetching() == []
    assert not (shard.scratch / "0007" / "_downloads").exists()


def test_progress_counts_rejections(shard: Shard, capsys: pytest.CaptureFixture[str]) -> None:
    shard.bucket.objects[location("mp-1")] = b"garbage"
    shard.run()
    assert f"ingest 0007: {len(IDS)}/{len(IDS)}, 1 rejected" in capsys.readouterr().err


# --- an outage is no material's fault


def with_failing(
    shard: Shard, n: int, failing: int, reason: Reason = Reason.DOWNLOAD, *, listed: bool = True
) -> None:
    """Give the shard `n` materials instead, the first of which fail to download."""
    shard.entries.clear()
    for k in range(n):
        key, content = f"mp-{k:03d}", mp_object(k)
        shard.entries[key] = Shard.entry(key, bytes=len(content) if listed else None)
        shard.bucket.objects[location(key)] = content
        if k < failing:
            shard.bucket.faults[location(key)] = RejectedMaterialError(reason, f"{key}: six tries")


OUTAGES = {
    Reason.DOWNLOAD: "check the network, then run again",
    Reason.NO_DENSITY: "check proxy and access",  # 403, or gone since they were listed
    Reason.CHECKSUM: "list the source again",
}


@pytest.mark.parametrize("reason", OUTAGES)
def test_single_failed_downloads_are_rejections(shard: Shard, reason: Reason) -> None:
    with_failing(shard, OUTAGE + 1, OUTAGE - 1, reason)
    report = shard.run()
    assert {entry["reason"] for entry in report.rejected.values()} == {reason.value}
    assert (len(report.rejected), len(report.digests)) == (OUTAGE - 1, 2)


@pytest.mark.parametrize("reason", OUTAGES)
def test_downloads_that_all_fail_stop_the_stage(shard: Shard, reason: Reason) -> None:
    with_failing(shard, OUTAGE + 1, OUTAGE, reason)
    with pytest.raises(StudyError, match=OUTAGES[reason]) as caught:
        shard.run()
    assert f"mp-{OUTAGE - 1:03d}: six tries" in str(caught.value)
    assert not shard.store.exists()


@pytest.mark.parametrize("n", [1, OUTAGE - 1])
def test_shard_of_which_nothing_came_stops_the_stage_however_small(shard: Shard, n: int) -> None:
    with_failing(shard, n, n)
    with pytest.raises(StudyError, match=rf"none of its {n} downloads came.* mp-{n - 1:03d}: six tries"):
        shard.run()
    assert not shard.store.exists()


def test_single_absent_object_is_a_rejection(shard: Shard) -> None:
    with_failing(shard, 1, 1, Reason.NO_DENSITY)
    assert shard.run().rejected["mp-000"]["reason"] == Reason.NO_DENSITY


def test_absent_objects_that_nobody_listed_are_rejections(shard: Shard) -> None:
    with_failing(shard, OUTAGE + 1, OUTAGE, Reason.NO_DENSITY, listed=False)
    assert len(shard.run().rejected) == OUTAGE


# --- resume


def test_rerun_downloads_only_what_was_in_flight(
    shard: Shard, undisturbed: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(shard, "mp-3")
    assert [path.stem for path in shard.records] == ["mp-0", "mp-1", "mp-2"]
    assert not shard.store.exists()
    assert shard.run_fetching() == ["mp-3", "mp-4", "mp-5"]
    assert shard.outputs() == undisturbed
    assert shard.records == []
    assert "ingest 0007: 3 downloads are there already" in capsys.readouterr().err


def test_no_download_is_repeated_when_only_the_archive_was_missing(
    shard: Shard, undisturbed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ShardReport, "write", die)
        with pytest.raises(Killed):
            shard.run()
    shard.forget_outputs()
    assert shard.run_fetching() == []
    assert shard.outputs() == undisturbed


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "zeros at the end": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "garbage": lambda data: b"garbage",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_half_written_record_is_redone(shard: Shard, undisturbed: list[bytes], damage: str) -> None:
    stop_at(shard, "mp-3")
    shard.records[1].write_bytes(DAMAGES[damage](shard.records[1].read_bytes()))
    assert shard.run_fetching() == ["mp-1", "mp-3", "mp-4", "mp-5"]
    assert shard.outputs() == undisturbed


def test_record_whose_numbers_changed_is_redone(shard: Shard, undisturbed: list[bytes]) -> None:
    stop_at(shard, "mp-3")
    with resume.h5py.File(shard.records[0], "r+") as file:
        file["mp-0/total"][0, 0, 0] += 1e-9
    assert shard.run_fetching() == ["mp-0", "mp-3", "mp-4", "mp-5"]
    assert shard.outputs() == undisturbed


def test_record_of_an_older_content_key_is_not_adopted(shard: Shard) -> None:
    stop_at(shard, "mp-3")
    shard.entries["mp-1"]["key"] = "new"
    shard.bucket.objects[location("mp-1")] = mp_object(77)
    assert shard.run_fetching() == ["mp-1", "mp-3", "mp-4", "mp-5"]
    total = read_record(shard.store, "mp-1").fields["total"]
    np.testing.assert_allclose(total * NACL.volume, waves(GRID, 8, seed=77), rtol=1e-9)


@pytest.mark.parametrize("change", [{"raw": "float32"}, {"raw": "none"}, {"field": "deformation"}], ids=str)
def test_record_of_other_settings_is_not_adopted(shard: Shard, change: dict[str, Any]) -> None:
    stop_at(shard, "mp-3")
    assert shard.run_fetching(**change) == IDS


def test_record_of_other_code_is_not_adopted(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(shard, "mp-3")
    monkeypatch.setattr(record, "_code", lambda: "other code")
    assert shard.run_fetching() == IDS


def test_field_that_reads_no_other_files_changes_no_record(shard: Shard) -> None:
    stop_at(shard, "mp-3")
    assert shard.run_fetching(field="spin") == ["mp-3", "mp-4", "mp-5"]


def test_material_that_left_the_plan_leaves_scratch(shard: Shard) -> None:
    stop_at(shard, "mp-3")
    del shard.entries["mp-0"]
    shard.run()
    assert read_ids(shard.store) == IDS[1:]
    assert shard.records == []


def test_new_material_of_a_finished_shard_is_the_only_download(shard: Shard, bucket: StandInBucket) -> None:
    first = shard.run()
    shard.forget_outputs()
    shard.entries["mp-6"] = Shard.entry("mp-6")
    bucket.objects[location("mp-6")] = mp_object(6)
    assert shard.run_fetching() == ["mp-6"]
    assert read_ids(shard.store) == [*IDS, "mp-6"]
    second = shard.run()
    assert {key: second.digests[key] for key in IDS} == first.digests
    assert second.stats["mp-0"] == first.stats["mp-0"]


def test_finished_shard_takes_its_disk_once(shard: Shard) -> None:
    shard.run()
    (last,) = shard.scratch.glob("0007/*.h5")
    assert last.samefile(shard.store)


def test_without_hard_links_a_finished_shard_is_downloaded_again(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(resume.os, "link", refuse)
    before = shard.run().digests
    shard.forget_outputs()
    assert shard.run_fetching() == IDS
    assert shard.run().digests == before


# --- killed outright


def in_child(work: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    return child


def test_kill_at_any_moment_gives_the_same_bytes_in_the_end(shard: Shard, undisturbed: list[bytes]) -> None:
    shard.bucket.seconds = 0.01
    rng = random.Random(0)
    start = time.monotonic()
    child = in_child(shard.run)
    child.join()
    whole = time.monotonic() - start
    assert child.exitcode == 0
    shutil.rmtree(shard.scratch)
    struck = 0
    for _ in range(60):
        shard.forget_outputs()
        child = in_child(shard.run)
        time.sleep(rng.uniform(0.05, 0.8) * whole)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        if child.exitcode == 0:  # too late: all over again
            shutil.rmtree(shard.scratch)
            continue
        assert child.exitcode == -signal.SIGKILL
        struck += not summary_path(shard.store).exists()
        if struck == 10:
            break
    assert struck == 10
    shard.forget_outputs()
    shard.run()
    assert shard.outputs() == undisturbed
    assert list(shard.store.parent.glob(".*")) == []
    assert [path.name for path in shard.scratch.glob("0007/.*")] == []


def test_second_process_waits_for_the_first(
    shard: Shard, undisturbed: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, released = tmp_path / "held", tmp_path / "released"

    def hold() -> None:
        with resume.only_writer(shard.scratch / "0007"):
            held.touch()
            time.sleep(0.3)
            released.touch()

    child = in_child(hold)
    while not held.exists():
        time.sleep(0.01)
    assert not released.exists()
    shard.run()
    assert released.exists()
    child.join()
    assert shard.outputs() == undisturbed
    assert "waiting for another process" in capsys.readouterr().err


# --- a full disk

FULL = [errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("number", FULL, ids=["disk", "quota"])
@pytest.mark.parametrize("where", ["archive", "download"])
def test_full_disk_stops_with_advice_and_rejects_nothing(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    full = OSError(number, os.strerror(number))

    def fail(*_: object, **__: object) -> None:
        raise full

    if where == "archive":
        monkeypatch.setattr(ArchiveWriter, "add", fail)
    else:  # the bucket words its own error
        error = StudyError("cannot be written")
        error.__cause__ = full
        shard.bucket.faults[location("mp-2")] = error
    with pytest.raises(StudyError) as caught:
        shard.run()
    message = str(caught.value)
    assert "no space left on the disk /" in message
    assert "of 6 materials of shard 0007" in message
    assert "raw: float32 (half of it) or raw: none" in message
    assert "another disk" in message
    assert ("quota" in message) == (number == errno.EDQUOT)
    assert not shard.store.exists()


def test_no_smaller_setting_is_offered_to_who_has_it(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    shard.bucket.faults[location("mp-0")] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StudyError) as caught:
        shard.run(raw="none")
    assert "set raw" not in str(caught.value)


def test_other_trouble_with_files_is_not_called_a_full_disk(shard: Shard) -> None:
    shard.bucket.faults[location("mp-0")] = OSError(errno.EACCES, "Permission denied")
    with pytest.raises(PermissionError):
        shard.run()


def mount_small(folder: Path) -> bool:
    """Put a file system of 24 kB on a folder, for this process alone; False where that is not allowed."""
    libc = ctypes.CDLL(None)
    user, group, new_user, new_mounts = os.getuid(), os.getgid(), 0x10000000, 0x00020000
    if libc.unshare(new_user | new_mounts):
        return False
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return not libc.mount(b"none", str(folder).encode(), b"tmpfs", 0, b"size=24k")


def test_disk_that_is_really_full(shard: Shard, tmp_path: Path, undisturbed: list[bytes]) -> None:
    """On a file system of some kB: the HDF5 library itself would crash here."""
    for folder in (shard.scratch, shard.store.parent):
        folder.mkdir()
    outcome = tmp_path / "outcome"

    def work() -> None:
        if not mount_small(shard.store.parent):
            outcome.write_text("not allowed")
            return
        try:
            shard.run()
        except StudyError as error:
            outcome.write_text(str(error))

    child = in_child(work)
    child.join()
    assert child.exitcode == 0
    message = outcome.read_text()
    if message == "not allowed":
        pytest.skip("this machine lets nobody mount a small file system")
    assert message.startswith(f"{shard.store.parent}: no space left on the disk {shard.store.parent}"), message
    with contextlib.suppress(IndexError):
        assert shard.records[0].stem == "mp-0"
    shard.run()  # outside, where there is room: goes on from the records
    assert shard.outputs() == undisturbed
