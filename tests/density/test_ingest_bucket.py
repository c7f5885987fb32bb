"""Ingest through the real S3 client from a bucket that fails in every way a bucket can."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from fake_mp import FakeMaterialsProject, Fault

from rhoflow.density.ingest import ingest_shard
from rhoflow.materials.archive import read_record
from rhoflow.materials.shards import ShardReport
from rhoflow.sources import fetch
from rhoflow.sources.bucket import Bucket

BUCKET = "materialsproject-parsed"
# kind of a fault that stays: the reason of the rejection
LASTING = {
    "absent": "no density file",
    "truncated_gzip": "truncated file",
    "null": "no density file",
    "data_null": "no density file",
    "wrong_json": "unreadable file",
    "500": "download failed",
    "corrupt": "checksum",
}
PASSING = ("429", "500", "503", "slow", "reset", "short", "corrupt")
SOUND = 6


class Shard:
    """A shard of the fake's materials: one with each kind of fault, and some without."""

    def __init__(self, mp: FakeMaterialsProject, folder: Path) -> None:
        self.mp, self.folder = mp, folder
        found = {material.id: material.expected().task for material in mp.materials if material.visible}
        chosen = [(key, task) for key, task in sorted(found.items()) if task][: len(LASTING) + len(PASSING) + SOUND]
        self.tasks = dict(chosen)
        kinds = [Fault(kind, times=None) for kind in LASTING] + [Fault(kind, times=2) for kind in PASSING]
        # failed downloads apart from each other, as they would be: many in a row are an outage
        self.faults = dict(zip(list(self.tasks), kinds, strict=False))

    def run(self, name: str, **changes: Any) -> ShardReport:
        plan = self.folder / "0000.json"
        plan.write_text(json.dumps({"materials": [self._entry(key) for key in self.tasks]}))
        settings = {"field": "total", "raw": "native", "shape": (16, 16, 16), "connections": 4, "keep": None}
        settings |= {"scratch": self.folder / name / "scratch"} | changes
        return ingest_shard(plan, self.folder / name / "0000.h5", **settings)

    def _entry(self, key: str) -> dict[str, Any]:
        task = self.tasks[key]
        kinds = ("aeccar0s", None, "aeccar2s")
        aeccar = [kind and f"s3://{BUCKET}/{task.key.replace('chgcars', kind)}" for kind in kinds]
        empty = {"structure": None, "run": None, "dos": None, "sha256": None, "bytes": None}
        return {"id": key, "density": f"s3://{BUCKET}/{task.key}", "aeccar": aeccar, "key": task.key} | empty


@pytest.fixture
def shard(fake_mp: FakeMaterialsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shard:
    monkeypatch.setattr(fetch, "Bucket", functools.partial(Bucket, wait=0.01))
    return Shard(fake_mp, tmp_path)


def test_every_fault_is_retried_or_rejected_with_its_reason_and_nothing_comes_twice(shard: Shard) -> None:
    undisturbed = shard.run("undisturbed")
    assert list(undisturbed.digests) == list(shard.tasks)
    shard.mp.order({shard.tasks[key].key: fault for key, fault in shard.faults.items()})
    report = shard.run("disturbed")
    lasting = {key: fault.kind for key, fault in shard.faults.items() if fault.times is None}
    assert {key: entry["reason"] for key, entry in report.rejected.items()} == {
        key: LASTING[kind] for key, kind in lasting.items()
    }
    sound = [key for key in shard.tasks if key not in lasting]
    assert report.digests == {key: undisturbed.digests[key] for key in sound}
    assert report.stats == {key: undisturbed.stats[key] for key in sound}
    slow = next(key for key, fault in shard.faults.items() if fault.kind == "slow")  # comes late, but comes
    fetched = shard.mp.fetched()
    assert {key: fetched[shard.tasks[key].key] for key in sound} == dict.fromkeys(sound, 1) | {slow: 0}
    happened = shard.mp.happened()
    passing = {key: fault.kind for key, fault in shard.faults.items() if fault.times == 2}
    assert {key: happened[shard.tasks[key].key, kind] for key, kind in passing.items()} == dict.fromkeys(
        passing, 2
    ) | {slow: 1}


def test_object_has_the_checksum_that_the_bucket_holds(shard: Shard) -> None:
    stats = shard.run("one").stats
    assert {key: entry["sha256"] for key, entry in stats.items()} == {
        key: shard.mp.sha256(task) for key, task in shard.tasks.items()
    }


def test_all_electron_objects_are_fetched_when_the_field_asks_for_them(shard: Shard) -> None:
    keys = list(shard.tasks)[:2]
    shard.tasks = {key: shard.tasks[key] for key in keys}
    without = shard.tasks[keys[1]].key.replace("chgcars", "aeccar0s")
    shard.mp.order({without: Fault("absent", times=None)})
    report = shard.run("all", field="all_electron")
    record = read_record(shard.folder / "all" / "0000.h5", keys[0])
    protons = sum(record.structure.atomic_numbers)
    assert record.fields["all_electron"].mean() * record.structure.volume == pytest.approx(protons, abs=1e-3)
    assert report.rejected[keys[1]]["reason"] == "field not in file"
    assert "AECCAR0" in report.rejected[keys[1]]["detail"]
