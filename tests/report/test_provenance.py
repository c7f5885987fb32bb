from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import jinja2
import pandas as pd
import pytest

import rhoflow
from rhoflow.config import Study, load_study
from rhoflow.materials.digests import read_json, write_json
from rhoflow.report.provenance import (
    Code,
    code_version,
    collect_provenance,
    config_hash,
    data_hash,
    job_record,
    lineage,
    write_provenance,
)

STORES = {"grids": ".zarr.zip", "slices": ".npz", "text": ".jsonl"}


def test_lineage_changes_with_config_data_and_code(small_root: Path, study: Study, code: Code) -> None:
    first = lineage(small_root, study, code).id
    assert len(first) == 12
    assert lineage(small_root, study, code).id == first
    assert lineage(small_root, load_study({"study": "made-up", "seeds": [1]}), code).id != first
    assert lineage(small_root, study, replace(code, source="1" * 16)).id != first
    edit_digest(small_root)
    assert lineage(small_root, study, code).id != first


def test_lineage_does_not_change_with_the_commit(small_root: Path, study: Study, code: Code) -> None:
    assert lineage(small_root, study, replace(code, git="other")) == lineage(small_root, study, code)


def edit_digest(root: Path) -> None:
    file = next(root.glob("slices/*.digest.json"))
    digests = read_json(file)
    digests[next(iter(digests))] = "f" * 64
    write_json(file, digests)


def edit_target(root: Path) -> None:
    file = root / "dataset/targets.parquet"
    table = pd.read_parquet(file)
    table.loc[0, "k_vrh"] += 1e-9
    table.to_parquet(file, index=False)


def drop_crystal(root: Path) -> None:
    file = root / "dataset/kept.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")


@pytest.mark.parametrize("edit", [edit_digest, edit_target, drop_crystal])
def test_data_hash_changes_with_the_data(small_root: Path, edit: object) -> None:
    before = data_hash(small_root)
    edit(small_root)  # type: ignore[operator]
    assert data_hash(small_root) != before


def move_to_one_shard(root: Path) -> None:
    kept = root / "dataset/kept.csv"
    pd.read_csv(kept, dtype=str).assign(shard="0009").to_csv(kept, index=False)
    for stage, suffix in STORES.items():
        files = sorted(root.glob(f"{stage}/*.digest.json"))
        together = {key: value for file in files for key, value in read_json(file).items()}
        for file in files:
            file.unlink()
        write_json(root / stage / f"0009{suffix}.digest.json", together)


def turn_rows_round(root: Path) -> None:
    for name in ("kept.csv", "targets.parquet"):
        file = root / "dataset" / name
        if name.endswith("csv"):
            pd.read_csv(file, dtype=str).iloc[::-1].to_csv(file, index=False)
        else:
            pd.read_parquet(file).iloc[::-1].to_parquet(file, index=False)


def add_rejected_digest(root: Path) -> None:
    file = next(root.glob("text/*.digest.json"))
    write_json(file, {**read_json(file), "Rejected_later": "e" * 64})


def leave_old_shard(root: Path) -> None:
    """Leave digests of kept crystals in a shard that an older number of shards had."""
    for stage, suffix in STORES.items():
        known = read_json(next(root.glob(f"{stage}/*.digest.json")))
        write_json(root / stage / f"0009{suffix}.digest.json", dict.fromkeys(known, "d" * 64))


@pytest.mark.parametrize("edit", [move_to_one_shard, turn_rows_round, add_rejected_digest, leave_old_shard])
def test_data_hash_ignores_shards_order_and_what_is_not_kept(small_root: Path, edit: object) -> None:
    before = data_hash(small_root)
    edit(small_root)  # type: ignore[operator]
    assert data_hash(small_root) == before


def test_config_hash_is_of_the_resolved_config() -> None:
    assert config_hash(load_study({})) == config_hash(load_study({"seeds": [0]}))
    assert config_hash(load_study({})) != config_hash(load_study({"seeds": [1]}))


def test_job_records_say_hardware_and_time_but_no_host(small_root: Path, study: Study, code: Code) -> None:
    found = collect_provenance(small_root, study, code)
    assert len(found["jobs"]) == 12
    job = found["jobs"]["runs/image/k_vrh/none/fold2/seed0"]
    assert job["ended"] == "2026-11-21T18:02:12+00:00"
    assert (job["cpu"], job["cpu_count"], job["gpu"]) == ("Made-up CPU 9000", 2, None)
    assert "secret-host" not in json.dumps(found)


def test_sums_over_jobs(small_root: Path, study: Study, code: Code) -> None:
    found = collect_provenance(small_root, study, code)
    assert found["seconds"] == 12 * 12.5
    assert found["hardware"] == [
        {"cpu": "Made-up CPU 9000", "cpu_count": 2, "gpu": None, "jobs": 12, "seconds": 150.0}
    ]
    assert (found["started"], found["ended"]) == ("2026-11-21T18:00:00+00:00", "2026-11-21T18:02:12+00:00")


def test_versions_are_those_of_the_runs(small_root: Path, study: Study, code: Code) -> None:
    file = small_root / "runs/image/k_vrh/none/fold2/seed0/run.prov.json"
    write_json(file, {**read_json(file), "packages": {"numpy": "1.0.0"}})
    found = collect_provenance(small_root, study, code)
    assert found["software"] == [
        {"python": "3.11.7", "packages": {"numpy": "2.4.6"}, "jobs": 11, "seconds": 137.5},
        {"python": "3.11.7", "packages": {"numpy": "1.0.0"}, "jobs": 1, "seconds": 12.5},
    ]
    assert found["jobs"]["runs/image/k_vrh/none/fold2/seed0"]["packages"] == {"numpy": "1.0.0"}


def test_versions_of_the_reporting_process_stand_apart(small_root: Path, study: Study, code: Code) -> None:
    reporting = collect_provenance(small_root, study, code)["reporting"]
    assert reporting["python"] == platform.python_version()
    assert reporting["packages"]["jinja2"] == jinja2.__version__


def test_seeds_and_config_are_there(small_root: Path, study: Study, code: Code) -> None:
    found = collect_provenance(small_root, study, code)
    assert found["seeds"] == {"training": [0], "splits": 0}
    assert load_study(found["config"]) == study


def test_missing_job_records_are_left_out(small_root: Path, study: Study, code: Code) -> None:
    (small_root / "runs/image/k_vrh/none/fold2/seed0/run.prov.json").unlink()
    assert job_record(small_root / "runs/image/k_vrh/none/fold2/seed0") is None
    assert len(collect_provenance(small_root, study, code)["jobs"]) == 11


def test_empty_results_folder_has_a_provenance(tmp_path: Path, study: Study, code: Code) -> None:
    write_provenance(tmp_path, tmp_path / "provenance/provenance.json", study=study, code=code)
    found = read_json(tmp_path / "provenance/provenance.json")
    assert (found["jobs"], found["started"], found["seconds"]) == ({}, None, 0)


def test_code_version_is_that_of_the_package() -> None:
    assert code_version().version == rhoflow.__version__
    assert len(code_version().source) == 16
