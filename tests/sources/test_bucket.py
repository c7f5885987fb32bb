"""Objects of the bucket: boto3 against the fake bucket, with faults on order."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from fake_mp import FakeMaterialsProject, Fault
from urllib3.exceptions import SSLError

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.sources import bucket as bucket_module
from rhoflow.sources.bucket import Absent, Bucket, Head, split_location
from rhoflow.sources.retries import LONGEST_WAIT_S, TRIES, retry_after

WAIT_S = 1e-3
SHORT_S = 0.5  # the fake's slow answers pause 2 s


@pytest.fixture
def bucket(fake_mp: FakeMaterialsProject) -> Bucket:
    return Bucket(wait=WAIT_S)


@pytest.fixture
def key(fake_mp: FakeMaterialsProject) -> str:
    """Key of an object that is there."""
    return next(task.key for material in fake_mp.materials if (task := material.expected().task))


@pytest.fixture
def location(key: str) -> str:
    return f"s3://materialsproject-parsed/{key}"


def rejected(bucket: Bucket, location: str, path: Path, **wanted: object) -> RejectedMaterialError:
    with pytest.raises(RejectedMaterialError) as error:
        bucket.fetch(location, path, **wanted)  # type: ignore[arg-type]
    assert not path.exists()
    assert not list(path.parent.iterdir())
    return error.value


# Heads


def test_head_gives_size_and_md5(bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject) -> None:
    content = fake_mp.object(key)
    assert bucket.head(location) == Head(len(content), hashlib.md5(content).hexdigest())


def test_head_tells_an_absent_object_from_a_refused_one(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject
) -> None:
    assert bucket.head("s3://materialsproject-parsed/chgcars/mp-1.json.gz") == Absent(refused=False)
    fake_mp.order({key: Fault("refused", times=None)})
    assert bucket.head(location) == Absent(refused=True)
    assert len(fake_mp.log()) == 1


def test_head_is_asked_again_after_a_passing_fault(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject
) -> None:
    fake_mp.order({f"HEAD {key}": Fault("503", times=TRIES - 1, retry_after=None)})
    assert isinstance(bucket.head(location), Head)
    assert len(fake_mp.log()) == TRIES


def test_head_that_always_fails_is_a_rejection_after_six_tries(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject
) -> None:
    fake_mp.order({f"HEAD {key}": Fault("500", times=None)})
    with pytest.raises(
        RejectedMaterialError, match=r"download failed: s3://.*the bucket answered 500.*6 tries"
    ) as error:
        bucket.head(location)
    assert error.value.reason is Reason.DOWNLOAD
    assert len(fake_mp.log()) == TRIES


# Downloads


def test_fetched_object_is_whole_and_its_digest_is_returned(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    digest = bucket.fetch(location, tmp_path / "new" / "density.json.gz")
    content = (tmp_path / "new" / "density.json.gz").read_bytes()
    assert content == fake_mp.object(key)
    assert digest == hashlib.sha256(content).hexdigest()


def test_fetch_needs_no_credentials(
    location: str, fake_mp: FakeMaterialsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    Bucket(wait=WAIT_S).fetch(location, tmp_path / "density")
    assert (tmp_path / "density").stat().st_size > 0


@pytest.mark.parametrize("kind", ["429", "500", "502", "503", "504", "reset", "short", "corrupt", "slow"])
def test_passing_fault_is_tried_again(
    kind: str,
    bucket: Bucket,
    location: str,
    key: str,
    fake_mp: FakeMaterialsProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "slow":
        monkeypatch.setattr(bucket_module, "READ_TIMEOUT_S", SHORT_S)
        bucket = Bucket(wait=WAIT_S)
    fake_mp.order({key: Fault(kind, times=2, retry_after=None)})
    bucket.fetch(location, tmp_path / "density", size=len(fake_mp.object(key)))
    assert (tmp_path / "density").read_bytes() == fake_mp.object(key)
    assert fake_mp.happened()[key, kind] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["density"]


def test_servers_retry_after_is_kept(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    fake_mp.order({key: Fault("503", times=1, retry_after=1)})
    start = time.monotonic()
    bucket.fetch(location, tmp_path / "density")
    assert 1.0 <= time.monotonic() - start < 10.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("99999", LONGEST_WAIT_S), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-3", 0.0), ("²", 0.0)],
)
def test_retry_after_is_seconds_and_bounded(header: str, seconds: float) -> None:
    assert retry_after({"retry-after": header}) == seconds


def test_lasting_failure_is_a_rejection_without_a_file(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    fake_mp.order({key: Fault("reset", times=None)})
    error = rejected(bucket, location, tmp_path / "density")
    assert error.reason is Reason.DOWNLOAD
    assert f"{TRIES} tries" in error.detail
    assert location in error.detail
    assert fake_mp.happened()[key, "reset"] == TRIES


def test_bytes_that_never_match_the_etag_are_a_checksum_rejection(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    fake_mp.order({key: Fault("corrupt", times=None)})
    error = rejected(bucket, location, tmp_path / "density")
    assert error.reason is Reason.CHECKSUM
    assert "md5" in error.detail
    assert fake_mp.happened()[key, "corrupt"] == TRIES


@pytest.mark.parametrize(("kind", "status"), [("absent", "404"), ("refused", "403")])
def test_absent_object_is_a_rejection_at_once(
    kind: str, status: str, bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    fake_mp.order({key: Fault(kind, times=None)})
    error = rejected(bucket, location, tmp_path / "density")
    assert error.reason is Reason.NO_DENSITY
    assert f"the bucket answers {status}" in error.detail
    assert len(fake_mp.log()) == 1


@pytest.mark.parametrize(
    "wanted", [{"size": 7}, {"etag": "0" * 32}, {"sha256": "0" * 64}], ids=["size", "etag", "sha256"]
)
def test_object_that_changed_is_a_checksum_rejection_at_once(
    wanted: dict[str, object], bucket: Bucket, location: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    error = rejected(bucket, location, tmp_path / "density", **wanted)
    assert error.reason is Reason.CHECKSUM
    assert "not the one that was listed" in error.detail
    assert len(fake_mp.log()) == 1


def test_right_size_etag_and_sha256_are_accepted(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    content = fake_mp.object(key)
    wanted = hashlib.sha256(content).hexdigest()
    head = bucket.head(location)
    assert isinstance(head, Head)
    assert bucket.fetch(location, tmp_path / "d", size=len(content), sha256=wanted, etag=head.etag) == wanted


def test_etag_of_an_upload_in_parts_is_no_checksum(
    bucket: Bucket, location: str, key: str, fake_mp: FakeMaterialsProject, tmp_path: Path
) -> None:
    fake_mp.order({key: Fault("multipart", times=None)})
    bucket.fetch(location, tmp_path / "density")
    assert (tmp_path / "density").read_bytes() == fake_mp.object(key)


def test_object_larger_than_any_density_is_not_fetched(
    bucket: Bucket, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "LARGEST", 100)
    assert "more than any density has" in rejected(bucket, location, tmp_path / "density").detail


def test_no_server_at_all_is_no_objects_fault(
    location: str, fake_mp: FakeMaterialsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    bucket = Bucket(wait=WAIT_S)
    for ask in (lambda: bucket.fetch(location, tmp_path / "density"), lambda: bucket.head(location)):
        with pytest.raises(StudyError, match=rf"EndpointConnectionError.*{TRIES} tries.*cannot be reached"):
            ask()
    assert not list(tmp_path.iterdir())


def test_broken_encryption_of_a_body_is_tried_again(
    bucket: Bucket, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, broken = bucket_module._write, [SSLError("bad record mac")]

    def breaking(*arguments: Any) -> Any:
        if broken:
            raise broken.pop()
        return write(*arguments)

    monkeypatch.setattr(bucket_module, "_write", breaking)
    bucket.fetch(location, tmp_path / "density")
    assert (tmp_path / "density").stat().st_size > 0


def test_full_disk_stops_the_study(
    bucket: Bucket, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(bucket_module, "atomic", lambda path: _Given(full))
    with pytest.raises(StudyError, match=r"density: cannot be written .No space left on device.; free disk space"):
        bucket.fetch(location, tmp_path / "density")


class _Given:
    """A context that gives a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        pass


def test_folder_that_cannot_be_written_stops_the_study(bucket: Bucket, location: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"cannot be written"):
        bucket.fetch(location, tmp_path / "file" / "density")


@pytest.mark.parametrize("bad", ["chgcars/x", "s3://bucket", "s3://bucket/", "s3:///key", "https://bucket/key"])
def test_location_that_is_none_is_named(bad: str) -> None:
    with pytest.raises(StudyError, match=r"it must be s3://bucket/key") as error:
        split_location(bad)
    assert repr(bad) in str(error.value)
