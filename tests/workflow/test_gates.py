"""Selections, lists and disks through the real rules: what stops a study at its gate, and what does not."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from fake_mp import FakeMaterialsProject
from small_study import Workspace

from rhoflow.sources.materials_project.snapshot import read_snapshot

PLAN = ("--", "results/small/plan/0000.json")
CRYSTALS = ("Al_fcc", "NaCl_rocksalt")


@pytest.fixture
def study(tmp_path: Path, project: Path) -> Workspace:
    return Workspace(tmp_path, project)


@pytest.mark.slow
def test_selection_that_nothing_fits_says_what_to_do(study: Workspace, fake_mp: FakeMaterialsProject) -> None:
    # No crystal of the project holds all of these.
    source = {"kind": "materials_project", "stable": False, "elements": ["Xe", "Pu", "Og"]}
    study.configure(source=source, shards=1)
    told = study.run(*PLAN, fails=True).output
    assert "has no material that meets it; loosen stable, lattice, elements, ranges or complete" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_disk_that_is_too_small_stops_before_anything_is_read(study: Workspace, demo: Path) -> None:
    for name in CRYSTALS:
        shutil.copytree(demo / name, study.folder / "crystals" / name)
    shutil.copy(demo / "properties.csv", study.folder / "crystals")
    study.configure(shards=1, grid={"shape": [20000, 20000, 20000]})
    told = study.run("--", "results/small/grids/0000.zarr.zip", fails=True).output
    assert "the disk is too small" in told
    assert "Remedies: select fewer materials" in told or "Remedies: raw" in told or "Remedies: slices.png" in told
    assert not (study.root / "raw").exists()


@pytest.mark.slow
def test_line_more_in_the_file_of_ids_asks_again_and_another_field_does_not(
    study: Workspace, fake_mp: FakeMaterialsProject
) -> None:
    ids = sorted(material.id for material in fake_mp.materials)[:3]
    (study.folder / "ids.txt").write_text("\n".join(ids[:2]))
    source = {"kind": "materials_project", "stable": False, "needs_density": False, "ids": "ids.txt"}
    study.configure(source=source, shards=1)
    snapshot = study.root / "catalog/materials_project.jsonl.gz"
    target = ("--", str(snapshot.relative_to(study.folder)))
    study.run(*target)
    assert [material["id"] for material in read_snapshot(snapshot)[1]] == ids[:2]
    study.configure(source=source, shards=1, field="spin")
    assert study.run(*target).jobs == []
    (study.folder / "ids.txt").write_text("\n".join(ids))
    assert study.run(*target).jobs == ["query"]
    assert [material["id"] for material in read_snapshot(snapshot)[1]] == ids


@pytest.mark.slow
def test_list_brings_its_descriptions_along(study: Workspace, demo: Path) -> None:
    text = "{} is Halite structured and crystallizes in the cubic Fm-3m space group. Bonds are 2 Å."
    rows = []
    for name in CRYSTALS:
        content = (demo / name / "CHGCAR.xz").read_bytes()
        (study.folder / f"{name}.CHGCAR.xz").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        rows.append([name, f"{name}.CHGCAR.xz", len(content), sha256, 100, text.format(name.split("_")[0])])
    with (study.folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["material_id", "location", "bytes", "sha256", "k_vrh_GPa", "description"], *rows]
        )
    study.configure(source={"kind": "manifest", "file": "list.csv"}, shards=1, targets=["k_vrh"])
    study.run("--", "results/small/text/0000.jsonl")
    lines = [json.loads(line) for line in (study.root / "text/0000.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(CRYSTALS)
    assert [line["all"] for line in lines] == [row[-1] for row in rows]
    assert {line["origin"] for line in lines} == {"materials_project"}
