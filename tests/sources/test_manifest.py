"""Published lists: written from a study, read as a source, and what is wrong with a bad one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from rhoflow.config import DirectorySource, ManifestSource, MaterialsProjectSource, Study
from rhoflow.density.ingest import ingest_shard
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.materials.shards import ShardReport
from rhoflow.properties import PROPERTIES, parse_column
from rhoflow.sources.catalog import write_catalog
from rhoflow.sources.manifest import FILES, lists_descriptions, manifest_fingerprint, read_manifest
from rhoflow.sources.materials_project.snapshot import write_lines
from rhoflow.sources.plan import plan_paths, read_plan, read_plan_texts, write_plan
from rhoflow.sources.publish import property_column, write_manifest
from rhoflow.sources.rows import FIXED, Rows
from rhoflow.sources.stable import parquet_bytes

HEADER = "material_id,location,bytes,sha256"
FILES_OF = {"AgCl": b"density of AgCl", "MgO": b"density of MgO, longer"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def row(material_id: str, **changes: Any) -> str:
    content = FILES_OF.get(material_id, b"?")
    cells = {"location": f"{material_id}/CHGCAR", "bytes": len(content), "sha256": sha256(content)} | changes
    return ",".join([material_id, *map(str, cells.values())])


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ManifestSource]:
    """Write a list of some rows beside two density files, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for material_id, content in FILES_OF.items():
        Path("set", material_id).mkdir(parents=True)
        Path("set", material_id, "CHGCAR").write_bytes(content)

    def write(*rows: str, header: str = HEADER) -> ManifestSource:
        Path("set/list.csv").write_text("\n".join([header, *rows, ""]))
        return ManifestSource(file=Path("set/list.csv"))

    return write


def read(source: ManifestSource, field: str = "total", *, dos: bool = False) -> Rows:
    return read_manifest(source, Path("scratch/keys.json"), field=field, dos=dos)


def test_local_files_are_found_below_the_folder_of_the_list(listed: Callable[..., ManifestSource]) -> None:
    rows = read(listed(row("MgO"), row("AgCl")))
    assert rows.rejected == {}
    assert [entry["material_id"] for entry in rows.rows] == ["AgCl", "MgO"]
    assert [entry["path"] for entry in rows.rows] == ["set/AgCl/CHGCAR", "set/MgO/CHGCAR"]
    assert [entry["size_bytes"] for entry in rows.rows] == [15, 22]
    assert rows.rows[0]["sha256"] == sha256(FILES_OF["AgCl"])
    assert all(set(entry) == set(FIXED) - {"shard"} for entry in rows.rows)


def test_local_files_may_lie_in_another_folder(listed: Callable[..., ManifestSource]) -> None:
    source = listed(row("AgCl"))
    Path("set").rename("elsewhere")
    Path("elsewhere/list.csv").rename("list.csv")
    rows = read(ManifestSource(file=Path("list.csv"), folder=Path("elsewhere")))
    assert [entry["path"] for entry in rows.rows] == ["elsewhere/AgCl/CHGCAR"]
    assert source.folder is None


def test_objects_of_a_bucket_are_taken_as_listed(listed: Callable[..., ManifestSource]) -> None:
    location = "s3://materialsproject-parsed/chgcars/mp-1.json.gz"
    rows = read(listed(row("mp-1", location=location, bytes=7)))
    assert rows.rejected == {}
    assert (rows.rows[0]["path"], rows.rows[0]["size_bytes"]) == (location, 7)


def test_values_come_in_house_units_and_texts_as_they_are(listed: Callable[..., ManifestSource]) -> None:
    header = f"{HEADER},task_id,k_vrh_kbar,band_gap_eV"
    rows = read(listed(row("MgO") + ",mp-7,1520,", row("AgCl") + ",'=1+1,,0.9", header=header))
    assert rows.numbers["k_vrh"][1] == pytest.approx(152.0, rel=1e-15)
    assert math.isnan(rows.numbers["k_vrh"][0])
    assert rows.numbers["band_gap"][0] == 0.9
    assert rows.texts == {"task_id": ["=1+1", "mp-7"]}


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"sha256": "0" * 64}, "checksum", "get the published file again"),
        ({"bytes": 16}, "checksum", "has 15 bytes, the list says 16; get the published file again"),
        ({"sha256": "abc"}, "checksum", "sha256 = 'abc': 64 hexadecimal digits are wanted"),
        ({"sha256": ""}, "checksum", "64 hexadecimal digits are wanted"),
        ({"bytes": -1}, "checksum", "bytes = '-1'"),
        ({"bytes": 10**18}, "checksum", "the size of the density file in bytes is wanted"),
        ({"location": "AgCl/CHGCAR.gz"}, "no density file", "or set source.folder"),
        ({"location": ""}, "bad location", "location = ''"),
        ({"location": "../AgCl/CHGCAR"}, "bad location", "without .."),
        ({"location": "AgCl/../../CHGCAR"}, "bad location", "without .."),
        ({"location": "/etc/passwd"}, "bad location", "a path below source.folder"),
        ({"location": "C:\\CHGCAR"}, "bad location", "a path below source.folder"),
        ({"location": "http://host/x"}, "bad location", "s3://<bucket>/<key>"),
        ({"location": "s3://bucket/a/../b"}, "bad location", "s3://<bucket>/<key>"),
        ({"location": "s3://B?/a"}, "bad location", "s3://<bucket>/<key>"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_row_is_rejected_with_reason_and_remedy_and_the_others_stay(
    listed: Callable[..., ManifestSource], changes: dict[str, Any], reason: str, message: str
) -> None:
    rows = read(listed(row("MgO"), row("AgCl", **changes)))
    assert [entry["material_id"] for entry in rows.rows] == ["MgO"]
    assert rows.rejected["AgCl"]["reason"] == reason
    assert message in rows.rejected["AgCl"]["detail"]


def test_bad_id_is_rejected(listed: Callable[..., ManifestSource]) -> None:
    rows = read(listed(row("MgO"), "../x,AgCl/CHGCAR,15," + sha256(FILES_OF["AgCl"])))
    assert [entry["material_id"] for entry in rows.rows] == ["MgO"]
    assert rows.rejected["../x"]["reason"] == "bad id"


def test_further_file_is_checked_as_well_where_the_study_needs_it(listed: Callable[..., ManifestSource]) -> None:
    Path("set/AgCl/AECCAR0").write_bytes(b"core")
    header = f"{HEADER},aeccar0,aeccar0_sha256"
    good, bad = sha256(b"core"), sha256(b"other")
    needed = read(listed(row("AgCl") + f",AgCl/AECCAR0,{good}", header=header), "all_electron")
    assert needed.rows[0]["aeccar0_path"] == "set/AgCl/AECCAR0"
    assert json.loads(needed.rows[0]["checks"]) == {"aeccar0": {"sha256": good}}
    wrong = listed(row("AgCl") + f",AgCl/AECCAR0,{bad}", header=header)
    assert read(wrong, "all_electron").rejected["AgCl"]["reason"] == "checksum"
    assert read(wrong, "total").rows[0]["aeccar0_path"] is None


def test_cell_that_is_no_number_is_told_and_the_material_stays(listed: Callable[..., ManifestSource]) -> None:
    rows = read(listed(row("AgCl") + ",soft", row("MgO") + ",152", header=f"{HEADER},k_vrh_GPa"))
    assert len(rows.rows) == 2
    assert "k_vrh_GPa = 'soft'" in rows.rejected["AgCl"]["detail"]


def test_content_key_follows_what_the_file_holds(listed: Callable[..., ManifestSource]) -> None:
    before = read(listed(row("AgCl"), row("MgO"))).rows
    Path("set/AgCl/CHGCAR").write_bytes(b"Density of AgCl")
    after = read(listed(row("AgCl", sha256=sha256(b"Density of AgCl")), row("MgO"))).rows
    assert before[0]["content_key"] != after[0]["content_key"]
    assert before[1]["content_key"] == after[1]["content_key"]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([row("AgCl")], "material_id,location,size,sha256", "no column 'bytes'"),
        ([row("AgCl")], "id,location,bytes,sha256", "no column 'material_id'"),
        (
            [row("AgCl") + ",41"],
            f"{HEADER},k_vrh_psi",
            "column 'k_vrh_psi' names the property k_vrh with no known unit",
        ),
        ([row("AgCl"), row("MgO"), row("AgCl")], HEADER, "rows 1 and 3 (header not counted) are both 'AgCl'"),
        ([], HEADER, "no row"),
    ],
    ids=["no bytes", "no id", "unknown unit", "duplicate", "empty"],
)
def test_list_that_cannot_be_trusted_stops_the_study(
    listed: Callable[..., ManifestSource], rows: list[str], header: str, message: str
) -> None:
    source = listed(*rows, header=header)
    with pytest.raises(StudyError) as raised:
        read(source)
    assert message in str(raised.value)


def test_missing_list_says_what_to_give(tmp_path: Path) -> None:
    source = ManifestSource(file=tmp_path / "none.csv")
    for look in (read, manifest_fingerprint):
        with pytest.raises(StudyError, match=r"no such file .* `rhoflow manifest` wrote"):
            look(source)


def test_fingerprint_follows_the_list_and_its_files(listed: Callable[..., ManifestSource]) -> None:
    source = listed(row("AgCl"), row("MgO"))
    prints = [manifest_fingerprint(source), manifest_fingerprint(source)]
    os.utime("set/AgCl/CHGCAR", ns=(1, 1))
    prints.append(manifest_fingerprint(source))
    listed(row("AgCl"))
    prints.append(manifest_fingerprint(source))
    Path("set/AgCl/CHGCAR").unlink()
    prints.append(manifest_fingerprint(source))
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


# The writer. A finished study is made up of the few files that it reads.


def finish_study(source: Any, entries: list[dict[str, Any]], facts: dict[str, dict[str, Any]], **study: Any) -> Path:
    root = Path("results/made-up")
    frame = pd.DataFrame([dict.fromkeys(FIXED) | entry for entry in entries])
    (root / "catalog").mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array(frame[name].tolist()) for name in frame}
    (root / "catalog/materials.parquet").write_bytes(parquet_bytes(columns))
    (root / "plan").mkdir(exist_ok=True)
    (root / "plan/0000.json").write_text("{}")
    ShardReport("ingest", dict.fromkeys(facts, ""), facts).write(root / "raw/0000.h5")
    (root / "dataset").mkdir(exist_ok=True)
    (root / "dataset/kept.csv").write_text("\n".join(["material_id", *sorted(facts)[:2], ""]))
    (root / "provenance").mkdir(exist_ok=True)
    config = Study(study="made-up", source=source, **study).model_dump(mode="json")
    (root / "provenance/provenance.json").write_text(json.dumps({"config": config}))
    return root


def local_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **study: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    entries = []
    for material_id, content in (FILES_OF | {"TiN": b"density of TiN"}).items():
        folder = Path("runs/@deep") / material_id
        folder.mkdir(parents=True)
        (folder / "CHGCAR").write_bytes(content)
        (folder / "POSCAR").write_bytes(b"sites of " + content)
        entry = {"material_id": material_id, "path": f"{folder}/CHGCAR", "structure_path": f"{folder}/POSCAR"}
        entry |= {"size_bytes": len(content), "sha256": sha256(content), "task_id": "-1+2"}
        entries.append(entry | {"k_vrh": 0.1 + 0.2 if material_id == "MgO" else math.nan, "aeccar0_path": "runs/x"})
    facts: dict[str, Any] = {entry["material_id"]: {} for entry in entries}
    facts["AgCl"] = {"run": {"properties": {"k_vrh": -41.5, "efermi": 2.5}}}
    return finish_study(DirectorySource(path=Path("runs")), entries, facts, **study)


def test_list_of_a_study_reads_back_to_the_same_materials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = local_study(tmp_path, monkeypatch)
    assert write_manifest(root, Path("paper/list.csv")) == 2
    rows = read(ManifestSource(file=Path("paper/list.csv"), folder=Path("runs")))
    assert rows.rejected == {}
    assert [entry["path"] for entry in rows.rows] == ["runs/@deep/AgCl/CHGCAR", "runs/@deep/MgO/CHGCAR"]
    assert [entry["structure_path"] for entry in rows.rows] == ["runs/@deep/AgCl/POSCAR", "runs/@deep/MgO/POSCAR"]
    assert [entry["sha256"] for entry in rows.rows] == [sha256(content) for content in FILES_OF.values()]
    assert rows.numbers["k_vrh"].tolist() == [-41.5, 0.1 + 0.2]  # the run's where the catalogue has none; to the bit
    assert rows.numbers["efermi"][0] == 2.5
    assert rows.texts == {"task_id": ["-1+2"] * 2, "functional": [""] * 2, "database_version": [""] * 2}


def test_list_is_plain_sorted_and_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = local_study(tmp_path, monkeypatch)
    write_manifest(root, Path("a.csv"))
    write_manifest(root, Path("b.csv"))
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    table = pd.read_csv("a.csv", float_precision="round_trip")
    assert table.columns.tolist() == [
        *("material_id", "location", "bytes", "sha256", "structure", "structure_sha256"),
        *("task_id", "functional", "database_version", "efermi_eV", "k_vrh_GPa"),
    ]
    assert table.material_id.tolist() == ["AgCl", "MgO"]
    assert table.k_vrh_GPa.tolist() == [-41.5, 0.1 + 0.2]
    # No cell that a spreadsheet would compute, no path of this machine.
    words = table.select_dtypes("object").fillna("").to_numpy().ravel().tolist()
    assert not [word for word in words if word.startswith(("=", "+", "-", "@", "/", "\t"))]
    assert str(tmp_path) not in Path("a.csv").read_text()


def test_ingested_lists_what_was_not_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = local_study(tmp_path, monkeypatch)
    assert write_manifest(root, Path("all.csv"), ingested=True) == 3
    assert pd.read_csv("all.csv").material_id.tolist() == ["AgCl", "MgO", "TiN"]


def test_checksum_of_a_download_is_the_one_noted_when_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = "s3://materialsproject-parsed/chgcars/mp-9.json.gz"
    entry = {"material_id": "mp-1", "path": location, "size_bytes": 5, "task_id": "mp-9", "functional": "GGA+U"}
    entry |= {"database_version": "2026.4.1", "k_vrh": 3.0}
    facts = {"mp-1": {"sha256": "ab" * 32, "bytes": 6, "source": location}}
    root = finish_study(MaterialsProjectSource(), [entry], facts)
    write_manifest(root, Path("list.csv"))
    rows = read(ManifestSource(file=Path("list.csv")))
    assert (rows.rows[0]["path"], rows.rows[0]["sha256"], rows.rows[0]["size_bytes"]) == (location, "ab" * 32, 6)
    assert rows.texts == {"task_id": ["mp-9"], "functional": ["GGA+U"], "database_version": ["2026.4.1"]}


def test_file_changed_since_the_study_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = local_study(tmp_path, monkeypatch)
    Path("runs/@deep/MgO/CHGCAR").write_bytes(b"else")
    with pytest.raises(StudyError, match=r"MgO/CHGCAR has changed since the study ran: run snakemake again"):
        write_manifest(root, Path("list.csv"))
    assert not Path("list.csv").exists()


def test_file_gone_since_the_study_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = local_study(tmp_path, monkeypatch)
    Path("runs/@deep/MgO/POSCAR").unlink()
    with pytest.raises(StudyError, match=r"MgO/POSCAR: No such file or directory; restore it"):
        write_manifest(root, Path("list.csv"))


def test_unfinished_study_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="run snakemake for the study 'nothing' first"):
        write_manifest(tmp_path / "nothing", tmp_path / "list.csv")


def ingest(source: Any, root: Path) -> dict[str, str]:
    """Content digests of a study's densities, as the real stages make them."""
    catalog = root / "catalog/materials.parquet"
    write_catalog(source, catalog, root / "catalog/rejected.json", n_shards=2, cache=root / "keys.json")
    write_plan(catalog, root / "plan", 2)
    for plan in plan_paths(root / "plan"):
        options = {"field": "total", "raw": "native", "shape": (16, 16, 16), "scratch": root / "scratch"}
        ingest_shard(plan, root / f"raw/{plan.stem}.h5", **options, connections=1, keep=None)
    digests = [read_json(root / f"raw/{plan.stem}.h5.digest.json") for plan in plan_paths(root / "plan")]
    return digests[0] | digests[1]


def test_study_of_a_list_has_the_content_of_the_study_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("Al_fcc", "C_diamond", "Ni_fcc", "Pd_fcc")
    for name in names:
        shutil.copytree(demo / name, Path("crystals") / name)
    table = pd.read_csv(demo / "properties.csv")
    table[table.material_id.isin(names)].to_csv("crystals/properties.csv", index=False)
    source = DirectorySource(path=Path("crystals"))
    first = ingest(source, Path("results/one"))
    assert sorted(first) == sorted(names)
    root = Path("results/one")
    (root / "dataset").mkdir()
    (root / "dataset/kept.csv").write_text("\n".join(["material_id", *names, ""]))
    (root / "provenance").mkdir()
    (root / "provenance/provenance.json").write_text(
        json.dumps({"config": Study(study="one", source=source).model_dump(mode="json")})
    )
    write_manifest(root, Path("list.csv"))
    Path("crystals").rename("published")
    second = ingest(ManifestSource(file=Path("list.csv"), folder=Path("published")), Path("results/two"))
    assert second == first
    values = [
        pd.read_parquet(f"results/{study}/catalog/materials.parquet").set_index("material_id")
        for study in ("one", "two")
    ]
    numbers = [frame.select_dtypes("float64") for frame in values]
    pd.testing.assert_frame_equal(numbers[0].dropna(axis=1, how="all"), numbers[1], check_exact=True)


def test_list_of_a_materials_project_study_rebuilds_its_texts_and_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bucket = "s3://materialsproject-parsed"
    texts = {"mp-1": '=Al is "fcc",\nand so on. Å', "mp-2": None, "mp-3": "MgO is Halite."}
    materials = [
        {
            "id": material_id,
            "properties": {"band_gap": 0.1 + 0.2, "k_vrh": 100.0},
            "elastic_tensor": [[0.1 * i * j for i in range(6)] for j in range(6)] if text else None,
            "text": text,
            "task_id": f"{material_id}0",
            "functional": "GGA",
            "density": f"{bucket}/chgcars/{material_id}0.json.gz",
            "bytes": 1000,
            "etag": "0" * 32,
            "aeccar": [f"{bucket}/aeccar{k}s/{material_id}0.json.gz" for k in (0, 2)],
            "aeccar_bytes": [10, 20],
            "dos_task": f"{material_id}1" if text else None,
        }
        for material_id, text in texts.items()
    ]
    snapshot = Path("snapshot.jsonl.gz")
    header = {"database_version": "2026.4.1", "selection": {}, "lattice": "any", "n": len(materials)}
    write_lines(snapshot, header, materials)
    noted = {"aeccar0": "a0" * 32, "aeccar2": "a2" * 32}
    facts = {key: {"sha256": "ab" * 32, "bytes": 1000, "aeccar_sha256": noted} for key in texts}
    one, two = Path("results/made-up"), Path("results/two")
    wants = {"field": "all_electron", "dos": True}
    finish_study(MaterialsProjectSource(), [{"material_id": key} for key in texts], facts, **wants)
    ShardReport("dos", {"mp-1": "d0" * 32}, {"mp-3": {"note": "bad"}}).write(one / "dos/0000.h5")

    def catalogue(root: Path, source: Any, **given: Any) -> pd.DataFrame:
        table, rejected = root / "catalog/materials.parquet", root / "catalog/rejected.json"
        write_catalog(
            source, table, rejected, n_shards=1, cache=Path("keys.json"), **wants, snapshot=given.get("snapshot")
        )
        write_plan(table, root / "plan", 1, **given)
        return pd.read_parquet(table)

    first = catalogue(one, MaterialsProjectSource(), snapshot=snapshot)
    write_manifest(one, Path("list.csv"), ingested=True)
    listed = ManifestSource(file=Path("list.csv"))
    assert manifest_fingerprint(listed)
    assert lists_descriptions(listed)
    second = catalogue(two, listed, described=True)
    made = [(root / "plan/0000.texts.json.gz").read_bytes() for root in (one, two)]
    assert made[0] == made[1]
    assert read_plan_texts(two / "plan/0000.json") == {key: text for key, text in texts.items() if text}
    # What else the catalogues hold is the same; the list knows the checksums that the downloads had.
    apart = ["sha256", "content_key", "checks", "description"]
    pd.testing.assert_frame_equal(
        second.drop(columns=apart), first.drop(columns=apart, errors="ignore"), check_exact=True
    )
    assert set(second["sha256"]) == {"ab" * 32}
    aeccars = {role: {"sha256": sha} for role, sha in noted.items()}
    of_dos = {"dos": {"blake3": "d0" * 32}}
    assert [json.loads(cell) for cell in second["checks"]] == [aeccars | of_dos, aeccars, aeccars]
    assert [entry["dos"] for entry in read_plan(two / "plan/0000.json")] == ["mp:mp-11", None, "mp:mp-31"]


def test_list_without_descriptions_has_no_such_column(listed: Callable[..., ManifestSource]) -> None:
    assert not lists_descriptions(listed(row("AgCl")))


@pytest.mark.parametrize("key", PROPERTIES)
def test_every_property_has_a_column_in_its_house_unit(key: str) -> None:
    assert parse_column(property_column(key)) == (PROPERTIES[key], 1.0)
    assert property_column(key) not in FILES
