"""Files of a shard: local ones pass through, downloads run ahead in bounds and leave nothing behind."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_in_bucket import StandInBucket

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.sources import fetch
from rhoflow.sources.fetch import Arrivals, local_files
from rhoflow.sources.local import LocalFiles

CONNECTIONS = 2


def location(k: int, kind: str = "chgcars") -> str:
    return f"s3://bucket/{kind}/mp-{k}.json.gz"


def entry(k: int, density: str | None = None, **changes: Any) -> dict[str, Any]:
    empty = {"structure": None, "run": None, "aeccar": [None] * 3, "sha256": None, "bytes": None}
    return {"id": f"mp-{k}", "density": density or location(k)} | empty | changes


def content(k: int) -> bytes:
    return f"object {k}".encode() * 10


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> StandInBucket:
    made = StandInBucket({location(k): content(k) for k in range(20)})
    monkeypatch.setattr(fetch, "Bucket", made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scratch" / "_downloads"


def files_of(entries: list[dict[str, Any]], folder: Path, keep: Path | None = None) -> Arrivals:
    return local_files(entries, folder, connections=CONNECTIONS, keep=keep)


def only(arrivals: Iterator[tuple[Any, LocalFiles | RejectedMaterialError]]) -> LocalFiles | RejectedMaterialError:
    ((_, result),) = arrivals
    return result


def on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- local files


def test_local_files_pass_through_without_a_bucket(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(fetch, "Bucket")
    paths = {name: tmp_path / name for name in ("CHGCAR", "POSCAR", "OUTCAR", "AECCAR0", "AECCAR2")}
    for path in paths.values():
        path.write_text("x")
    names = {"structure": "POSCAR", "run": "OUTCAR"}
    changes: dict[str, Any] = {key: str(paths[name]) for key, name in names.items()}
    changes["aeccar"] = [str(paths["AECCAR0"]), None, str(paths["AECCAR2"])]
    density = str(paths["CHGCAR"])
    assert only(files_of([entry(1, density, **changes)], folder)) == LocalFiles(
        paths["CHGCAR"],
        paths["POSCAR"],
        paths["OUTCAR"],
        (paths["AECCAR0"], None, paths["AECCAR2"]),
        None,
        density,
    )
    assert paths["CHGCAR"].exists()
    assert not folder.exists()


def test_local_file_with_the_listed_checksum_is_taken(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "CHGCAR"
    path.write_bytes(b"density")
    got = only(files_of([entry(1, str(path), sha256=sha256(b"density"))], folder))
    assert isinstance(got, LocalFiles)
    assert got.sha256 == sha256(b"density")


def test_local_file_with_another_checksum_is_rejected(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "CHGCAR"
    path.write_bytes(b"density")
    got = only(files_of([entry(1, str(path), sha256=sha256(b"other"))], folder))
    assert isinstance(got, RejectedMaterialError)
    assert got.reason is Reason.CHECKSUM
    assert str(path) in got.detail


def test_local_file_that_is_not_there_is_left_to_the_reader(folder: Path) -> None:
    got = only(files_of([entry(1, "nowhere/CHGCAR", sha256="0" * 64)], folder))
    assert isinstance(got, LocalFiles)
    assert got.density == Path("nowhere/CHGCAR")


# --- downloads


def test_downloads_come_in_order_with_content_and_checksum(bucket: StandInBucket, folder: Path) -> None:
    bucket.faults[location(0)] = lambda: time.sleep(0.05)  # the first is the slowest
    seen = []
    for found, files in files_of([entry(k) for k in range(9)], folder):
        assert isinstance(files, LocalFiles)
        assert (files.origin, files.sha256) == (found["density"], sha256(files.density.read_bytes()))
        assert files.density.name.endswith(".json.gz")  # by which the reader knows the format
        seen.append((found["id"], files.density.read_bytes()))
    assert seen == [(f"mp-{k}", content(k)) for k in range(9)]


def test_listed_size_and_checksum_are_demanded(bucket: StandInBucket, folder: Path) -> None:
    right = {"bytes": len(content(1)), "sha256": sha256(content(1))}
    entries = [entry(1, **right), entry(1, **right | {"bytes": 7}), entry(1, **right | {"sha256": "0" * 64})]
    outcome = [getattr(result, "reason", None) for _, result in files_of(entries, folder)]
    assert outcome == [None, Reason.CHECKSUM, Reason.CHECKSUM]


def test_listed_etag_is_demanded(bucket: StandInBucket, folder: Path) -> None:
    """An object of the same size in the place of the listed one is not taken for it."""
    size = {"bytes": len(content(1))}
    etags = [md5(content(1)), "0" * 32]
    entries = [entry(1, **size, checks={"density": {"etag": etag}}) for etag in etags]
    outcome = [getattr(result, "reason", None) for _, result in files_of(entries, folder)]
    assert outcome == [None, Reason.CHECKSUM]


def test_file_is_deleted_when_the_next_is_asked_for_and_the_folder_at_the_end(
    bucket: StandInBucket, folder: Path
) -> None:
    paths = []
    for _, files in files_of([entry(k) for k in range(4)], folder):
        assert isinstance(files, LocalFiles)
        paths.append(files.density)
        assert [path.exists() for path in paths] == [False] * (len(paths) - 1) + [True]
    assert not folder.exists()


def test_downloads_run_ahead_but_only_so_far(bucket: StandInBucket, folder: Path) -> None:
    arrivals = files_of([entry(k) for k in range(12)], folder)
    next(arrivals)
    in_use_and_ahead = 1 + 2 * CONNECTIONS
    deadline = time.monotonic() + 5
    while len(bucket.fetched) < in_use_and_ahead and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(bucket.fetched) == in_use_and_ahead == len(on_disk(folder))
    arrivals.close()


def test_connections_limit_the_downloads_at_a_time(bucket: StandInBucket, folder: Path) -> None:
    bucket.seconds = 0.02
    list(files_of([entry(k) for k in range(10)], folder))
    assert bucket.most_at_once == CONNECTIONS


def test_rejection_takes_its_place_and_the_rest_goes_on(bucket: StandInBucket, folder: Path) -> None:
    bucket.faults[location(1)] = RejectedMaterialError(Reason.DOWNLOAD, "six tries")
    del bucket.objects[location(3)]
    outcome = [getattr(result, "reason", "files") for _, result in files_of([entry(k) for k in range(5)], folder)]
    assert outcome == ["files", Reason.DOWNLOAD, "files", Reason.NO_DENSITY, "files"]
    assert not folder.exists()


@pytest.mark.parametrize("error", [StudyError("no room"), OSError(28, "No space left on device")])
def test_failure_of_the_machine_ends_the_iteration_and_leaves_nothing(
    bucket: StandInBucket, folder: Path, error: Exception
) -> None:
    bucket.faults[location(2)] = error
    with pytest.raises(type(error), match=str(error.args[-1])):
        list(files_of([entry(k) for k in range(5)], folder))
    assert not folder.exists()


def test_consumer_that_stops_early_leaves_nothing(bucket: StandInBucket, folder: Path) -> None:
    arrivals = files_of([entry(k) for k in range(12)], folder)
    next(arrivals)
    arrivals.close()
    assert not folder.exists()
    assert len(bucket.fetched) <= 1 + 2 * CONNECTIONS


def test_leftovers_of_a_killed_process_go(bucket: StandInBucket, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mp-99.density.json.gz").write_bytes(b"x")
    next(files_of([entry(1)], folder))
    assert "mp-99.density.json.gz" not in on_disk(folder)


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/../../b", "/etc/passwd", "a//b", ".hidden", "a\0b", "a/b c"])
@pytest.mark.parametrize("kept", [True, False])
def test_key_that_is_no_file_name_is_rejected(
    bucket: StandInBucket, folder: Path, tmp_path: Path, key: str, kept: bool
) -> None:
    bucket.objects[f"s3://bucket/{key}"] = b"x"
    keep = tmp_path / "keep" if kept else None
    got = only(files_of([entry(1, f"s3://bucket/{key}")], folder, keep))
    assert isinstance(got, RejectedMaterialError)
    assert got.reason is Reason.BAD_LOCATION
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- AECCAR files


def test_aeccar_files_come_with_their_density(bucket: StandInBucket, folder: Path) -> None:
    bucket.objects |= {location(1, "aeccar0s"): b"core", location(1, "aeccar2s"): b"valence"}
    arrivals = files_of([entry(1, aeccar=[location(1, "aeccar0s"), None, location(1, "aeccar2s")])], folder)
    _, files = next(arrivals)
    assert isinstance(files, LocalFiles)
    core, overlapped, valence = files.aeccar
    assert core is not None
    assert valence is not None
    assert (core.read_bytes(), overlapped, valence.read_bytes()) == (b"core", None, b"valence")
    assert files.aeccar_sha256 == {"aeccar0": sha256(b"core"), "aeccar2": sha256(b"valence")}
    assert len(on_disk(folder)) == 3
    assert list(arrivals) == []
    assert not folder.exists()


def test_absent_aeccar_is_none_and_failed_one_a_rejection(bucket: StandInBucket, folder: Path) -> None:
    wanted = [location(1, "aeccar0s"), None, None]
    absent = only(files_of([entry(1, aeccar=wanted)], folder))
    assert isinstance(absent, LocalFiles)
    assert absent.aeccar == (None, None, None)
    bucket.faults[wanted[0]] = RejectedMaterialError(Reason.DOWNLOAD, "six tries")
    failed = only(files_of([entry(1, aeccar=wanted)], folder))
    assert isinstance(failed, RejectedMaterialError)


@pytest.mark.parametrize("wrong", [{"bytes": 5}, {"etag": "0" * 32}, {"sha256": "0" * 64}], ids=str)
def test_aeccar_file_must_be_what_is_known_of_it(bucket: StandInBucket, folder: Path, wrong: dict[str, Any]) -> None:
    bucket.objects[location(1, "aeccar0s")] = b"core"
    right = {"bytes": 4, "etag": md5(b"core"), "sha256": sha256(b"core")}
    aeccar = [location(1, "aeccar0s"), None, None]
    known, other = (entry(1, aeccar=aeccar, checks={"aeccar0": checks}) for checks in (right, right | wrong))
    assert isinstance(only(files_of([known], folder)), LocalFiles)
    assert getattr(only(files_of([other], folder)), "reason", None) == Reason.CHECKSUM


def test_local_aeccar_file_must_have_the_listed_checksum(tmp_path: Path, folder: Path) -> None:
    for name in ("CHGCAR", "AECCAR0"):
        (tmp_path / name).write_bytes(name.encode())
    aeccar = [str(tmp_path / "AECCAR0"), None, None]
    known = [{"aeccar0": {"sha256": sha256(data)}} for data in (b"AECCAR0", b"other")]
    entries = [entry(1, str(tmp_path / "CHGCAR"), aeccar=aeccar, checks=checks) for checks in known]
    outcome = [getattr(result, "reason", None) for _, result in files_of(entries, folder)]
    assert outcome == [None, Reason.CHECKSUM]


def test_absent_aeccar_that_was_listed_is_a_rejection(bucket: StandInBucket, folder: Path) -> None:
    aeccar = [location(1, "aeccar0s"), None, None]
    got = only(files_of([entry(1, aeccar=aeccar, checks={"aeccar0": {"bytes": 4}})], folder))
    assert isinstance(got, RejectedMaterialError)
    assert got.reason is Reason.NO_DENSITY


# --- kept objects


def kept_path(keep: Path, k: int) -> Path:
    return keep / "bucket" / "chgcars" / f"mp-{k}.json.gz"


def test_kept_objects_stay_and_are_not_fetched_again(bucket: StandInBucket, folder: Path, tmp_path: Path) -> None:
    keep = tmp_path / "downloads"
    for _ in range(2):
        for found, files in files_of([entry(k) for k in range(3)], folder, keep):
            assert isinstance(files, LocalFiles)
            assert files.sha256 == sha256(bucket.objects[found["density"]])
    assert sorted(bucket.fetched) == [location(k) for k in range(3)]
    assert kept_path(keep, 2).read_bytes() == content(2)
    assert not folder.exists()


def test_kept_object_with_the_listed_checksum_needs_no_network(
    bucket: StandInBucket, folder: Path, tmp_path: Path
) -> None:
    keep = tmp_path / "downloads"
    kept_path(keep, 1).parent.mkdir(parents=True)
    kept_path(keep, 1).write_bytes(content(1))
    got = only(files_of([entry(1, sha256=sha256(content(1)))], folder, keep))
    assert isinstance(got, LocalFiles)
    assert (bucket.fetched, bucket.headed) == ([], [])


def test_kept_object_with_the_listed_etag_needs_no_network(
    bucket: StandInBucket, folder: Path, tmp_path: Path
) -> None:
    keep = tmp_path / "downloads"
    kept_path(keep, 1).parent.mkdir(parents=True)
    kept_path(keep, 1).write_bytes(content(1))
    got = only(files_of([entry(1, checks={"density": {"etag": md5(content(1))}})], folder, keep))
    assert isinstance(got, LocalFiles)
    assert (bucket.fetched, bucket.headed) == ([], [])


def test_kept_object_is_none_of_another_etag(bucket: StandInBucket, folder: Path, tmp_path: Path) -> None:
    keep = tmp_path / "downloads"
    kept_path(keep, 1).parent.mkdir(parents=True)
    kept_path(keep, 1).write_bytes(content(2))  # of an earlier version of the object, and as long
    got = only(files_of([entry(1, checks={"density": {"etag": md5(content(1))}})], folder, keep))
    assert isinstance(got, LocalFiles)
    assert got.density.read_bytes() == content(1)


@pytest.mark.parametrize("damage", [content(1)[:-1], content(1)[:-1] + b"!", b""], ids=["short", "altered", "empty"])
@pytest.mark.parametrize(
    "listed",
    [{}, {"sha256": sha256(content(1))}, {"checks": {"density": {"etag": md5(content(1))}}}],
    ids=["nothing", "checksum", "etag"],
)
def test_kept_object_that_is_not_the_buckets_is_fetched_again(
    bucket: StandInBucket, folder: Path, tmp_path: Path, damage: bytes, listed: dict[str, Any]
) -> None:
    keep = tmp_path / "downloads"
    kept_path(keep, 1).parent.mkdir(parents=True)
    kept_path(keep, 1).write_bytes(damage)
    got = only(files_of([entry(1, **listed)], folder, keep))
    assert isinstance(got, LocalFiles)
    assert got.density.read_bytes() == content(1)
    assert bucket.fetched == [location(1)]
