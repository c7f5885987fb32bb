"""The Materials Project's snapshot becomes catalogue and plan without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import StudyError
from rhoflow.sources.catalog import source_fingerprint
from rhoflow.sources.materials_project.snapshot import write_lines
from rhoflow.sources.plan import plan_paths, read_plan, read_plan_texts, write_plan

from .conftest import Catalogue

BUCKET = "s3://materialsproject-parsed"
SOURCE = MaterialsProjectSource()
TENSOR = [[100.0 if i == j else 50.0 for j in range(6)] for i in range(6)]


def _material(number: int, **changes: Any) -> dict[str, Any]:
    task = f"mp-{number + 1000}"
    return {
        "id": f"mp-{number}",
        "properties": {"band_gap": 0.5 * number, "k_vrh": 100.0},
        "elastic_tensor": None,
        "text": f"Crystal {number} is cubic.",
        "task_id": task,
        "functional": "GGA",
        "density": f"{BUCKET}/chgcars/{task}.json.gz",
        "bytes": 1000 + number,
        "etag": f"{number:032x}",
        "aeccar": [f"{BUCKET}/aeccar0s/{task}.json.gz", f"{BUCKET}/aeccar2s/{task}.json.gz"],
        "aeccar_bytes": [10, 20],
        "aeccar_etags": ["0" * 32, "2" * 32],
        "dos_task": f"mp-{number + 2000}",
    } | changes


@pytest.fixture
def snapshot(tmp_path: Path):
    def write(*materials: dict[str, Any]) -> Path:
        path = tmp_path / "materials_project.jsonl.gz"
        rows = sorted(materials, key=lambda material: material["id"])
        header = {"database_version": "2025.09.25", "selection": {}, "lattice": "any", "n": len(rows)}
        write_lines(path, header, rows)
        return path

    return write


def test_rows_of_a_snapshot(catalogue: Catalogue, snapshot) -> None:
    path = snapshot(_material(2, elastic_tensor=TENSOR), _material(1, properties={"k_vrh": 80.0}))
    frame = catalogue(SOURCE, snapshot=path).frame
    assert frame.index.tolist() == ["mp-1", "mp-2"]
    assert frame.loc["mp-2", "path"] == f"{BUCKET}/chgcars/mp-1002.json.gz"
    assert frame["size_bytes"].tolist() == [1001, 1002]
    assert frame["k_vrh"].tolist() == [80.0, 100.0]
    np.testing.assert_array_equal(frame["band_gap"], [np.nan, 1.0])
    assert frame["task_id"].tolist() == ["mp-1001", "mp-1002"]
    assert set(frame["functional"]) == {"GGA"}
    assert set(frame["database_version"]) == {"2025.09.25"}
    assert frame.loc["mp-1", "elastic_tensor"] == ""
    assert json.loads(frame.loc["mp-2", "elastic_tensor"]) == TENSOR
    assert frame[["sha256", "structure_path", "run_path", "dos", "aeccar0_path"]].isna().all(axis=None)


def test_files_that_the_study_needs(catalogue: Catalogue, snapshot) -> None:
    path = snapshot(_material(1), _material(2, aeccar=None, aeccar_bytes=None, dos_task=None))
    frame = catalogue(SOURCE, snapshot=path, field="all_electron", dos=True).frame
    assert frame["aeccar0_path"].tolist() == [f"{BUCKET}/aeccar0s/mp-1001.json.gz", None]
    assert frame["aeccar2_path"].tolist() == [f"{BUCKET}/aeccar2s/mp-1001.json.gz", None]
    assert frame["dos"].tolist() == ["mp:mp-2001", None]


def test_deformation_asks_for_no_part_of_an_all_electron_density(catalogue: Catalogue, snapshot) -> None:
    """AECCAR2 alone is of no use, and the project keeps no AECCAR1."""
    frame = catalogue(SOURCE, snapshot=snapshot(_material(1)), field="deformation").frame
    assert frame[["aeccar0_path", "aeccar1_path", "aeccar2_path"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "options", "new"),
    [
        ({"etag": "f" * 32}, {}, True),
        ({"bytes": 5}, {}, True),
        ({"density": f"{BUCKET}/chgcars/x.json.gz"}, {}, True),
        ({"properties": {"k_vrh": 1.0}}, {}, False),
        ({"text": None}, {}, False),
        ({"dos_task": "mp-7"}, {"dos": True}, False),  # no reason to fetch the density again
        ({"aeccar_bytes": [11, 20]}, {}, False),
        ({"aeccar_bytes": [11, 20]}, {"field": "all_electron"}, True),
        ({"aeccar_etags": ["1" * 32, "2" * 32]}, {}, False),
        ({"aeccar_etags": ["1" * 32, "2" * 32]}, {"field": "all_electron"}, True),
    ],
)
def test_content_key_follows_the_objects_that_the_study_reads(
    catalogue, snapshot, change, options, new: bool
) -> None:
    before = catalogue(SOURCE, snapshot=snapshot(_material(1)), **options).frame.loc["mp-1", "content_key"]
    after = catalogue(SOURCE, snapshot=snapshot(_material(1, **change)), **options).frame.loc["mp-1", "content_key"]
    assert (before != after) is new


def _planned(catalogue: Catalogue, path: Path, folder: Path, field: str = "total") -> dict[str, Any]:
    """The one entry of the plan of a snapshot."""
    write_plan(catalogue(SOURCE, 1, snapshot=path, field=field).table, folder, 1)
    (entry,) = read_plan(folder / "0000.json")
    return entry


def test_plan_tells_what_the_objects_must_be(catalogue: Catalogue, snapshot, tmp_path: Path) -> None:
    entry = _planned(catalogue, snapshot(_material(1)), tmp_path / "plan")
    assert (entry["bytes"], entry["checks"]) == (1001, {"density": {"etag": f"{1:032x}"}})
    entry = _planned(catalogue, snapshot(_material(1)), tmp_path / "plan", "all_electron")
    assert entry["checks"] == {
        "density": {"etag": f"{1:032x}"},
        "aeccar0": {"bytes": 10, "etag": "0" * 32},
        "aeccar2": {"bytes": 20, "etag": "2" * 32},
    }


def test_snapshot_of_an_earlier_version_knows_no_etags_of_further_files(
    catalogue: Catalogue, snapshot, tmp_path: Path
) -> None:
    material = _material(1)
    del material["aeccar_etags"]
    entry = _planned(catalogue, snapshot(material), tmp_path / "plan", "all_electron")
    assert entry["checks"]["aeccar0"] == {"bytes": 10}


def test_rejected_materials_of_a_snapshot_are_told(catalogue: Catalogue, snapshot) -> None:
    gone = {"id": "mp-5", "rejected": {"reason": "no density file", "detail": "no object"}}
    made = catalogue(SOURCE, snapshot=snapshot(_material(1), gone))
    assert made.rejected == {"mp-5": {"reason": "no density file", "detail": "no object"}}
    assert made.frame.index.tolist() == ["mp-1"]


def test_snapshot_without_a_density_stops_the_study(catalogue: Catalogue, snapshot) -> None:
    gone = {"id": "mp-5", "rejected": {"reason": "no density file", "detail": "no object"}}
    with pytest.raises(StudyError, match=r"no usable material; no density fits the selection(.|\n)*mp-5: no object"):
        catalogue(SOURCE, snapshot=snapshot(gone))


def test_fingerprint_needs_no_snapshot() -> None:
    assert source_fingerprint(SOURCE) == ""


def test_plan_holds_the_texts_of_its_materials(catalogue: Catalogue, snapshot, tmp_path: Path) -> None:
    path = snapshot(*(_material(k) for k in range(1, 6)), _material(6, text=None))
    write_plan(catalogue(SOURCE, n_shards=3, snapshot=path).table, tmp_path / "plan", 3, snapshot=path)
    found: dict[str, str] = {}
    for plan in plan_paths(tmp_path / "plan"):
        texts = read_plan_texts(plan)
        assert set(texts) <= {entry["id"] for entry in read_plan(plan)}
        found |= texts
    assert found == {f"mp-{k}": f"Crystal {k} is cubic." for k in range(1, 6)}


def test_every_shard_has_texts_perhaps_none(catalogue: Catalogue, snapshot, tmp_path: Path) -> None:
    path = snapshot(_material(1))
    write_plan(catalogue(SOURCE, n_shards=4, snapshot=path).table, tmp_path / "plan", 4, snapshot=path)
    assert len(list((tmp_path / "plan").glob("*.texts.json.gz"))) == 4


def test_texts_have_stable_bytes_and_unchanged_ones_are_left_alone(catalogue, snapshot, tmp_path: Path) -> None:
    path = snapshot(_material(1), _material(2))
    table = catalogue(SOURCE, n_shards=1, snapshot=path).table
    write_plan(table, tmp_path / "a", 1, snapshot=path)
    write_plan(table, tmp_path / "b", 1, snapshot=path)
    one, other = (tmp_path / folder / "0000.texts.json.gz" for folder in "ab")
    assert one.read_bytes() == other.read_bytes()
    written = one.stat().st_mtime_ns
    write_plan(table, tmp_path / "a", 1, snapshot=path)
    assert one.stat().st_mtime_ns == written


def test_study_with_its_own_descriptions_has_no_texts(catalogue: Catalogue, snapshot, tmp_path: Path) -> None:
    path = snapshot(_material(1))
    table = catalogue(SOURCE, n_shards=1, snapshot=path).table
    write_plan(table, tmp_path / "plan", 1, snapshot=path)
    write_plan(table, tmp_path / "plan", 1)
    assert not list((tmp_path / "plan").glob("*.texts.json.gz"))
    assert read_plan_texts(tmp_path / "plan/0000.json") == {}
