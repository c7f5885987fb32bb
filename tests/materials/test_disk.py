"""A full disk is told from other trouble, and named."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials import disk
from rhoflow.materials.disk import full_disk_stops

FULL = OSError(errno.ENOSPC, "No space left on device")


def caused_by(cause: Exception) -> StudyError:
    error = StudyError("cannot be written")
    error.__cause__ = cause
    return error


def stop(error: Exception, *places: Path) -> str:
    """Message for an error inside the block."""
    with pytest.raises(StudyError) as caught, full_disk_stops(places, lambda: "Buy a disk"):
        raise error
    return str(caught.value)


@pytest.mark.parametrize("error", [FULL, caused_by(FULL)], ids=["as it is", "worded by another"])
def test_full_disk_is_named_with_its_free_space_and_the_advice(tmp_path: Path, error: Exception) -> None:
    message = stop(error, tmp_path / "not" / "made")
    mount = next(path for path in [tmp_path, *tmp_path.parents] if path.is_mount())
    assert message.startswith(f"{tmp_path / 'not' / 'made'}: no space left on the disk {mount} (")
    assert message.endswith(" GB free); Buy a disk")


def test_quota_is_called_so(tmp_path: Path) -> None:
    assert "(the quota is used up); Buy a disk" in stop(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path)


def test_place_with_least_space_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {tmp_path / "results": 5e9, tmp_path / "scratch": 2e6}
    for place in places:
        place.mkdir()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(places[path]))
    assert stop(FULL, *places).startswith(f"{tmp_path / 'scratch'}: no space left")
    assert "0.002 GB free" in stop(FULL, *places)


class Usage:
    """What shutil.disk_usage gives."""

    def __init__(self, free: float) -> None:
        self.free = free


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        StudyError("something else"),
        caused_by(ValueError("x")),
        ValueError("x"),
        RejectedMaterialError(Reason.UNREADABLE, "x"),
    ],
    ids=repr,
)
def test_other_errors_pass_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, full_disk_stops([tmp_path], lambda: "Buy a disk"):
        raise error
    assert caught.value is error


def test_work_that_goes_well_is_left_alone(tmp_path: Path) -> None:
    with full_disk_stops([tmp_path], lambda: pytest.fail("not asked for")):
        pass
