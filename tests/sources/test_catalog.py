"""The catalogue finds every material of a folder tree and names everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rhoflow.config import DirectorySource, MaterialsProjectSource
from rhoflow.errors import Reason, StudyError
from rhoflow.materials.ids import shard_of
from rhoflow.sources import content
from rhoflow.sources.catalog import source_fingerprint

from .conftest import IDS, TABLE, Catalogue

OLD_NS = 1_600_000_000_000_000_000  # long ago: such a digest may be remembered


def test_catalog_lists_materials_sorted_with_house_units(source: DirectorySource, catalogue: Catalogue) -> None:
    frame = catalogue(source).frame
    assert frame.index.tolist() == sorted(IDS)
    assert frame["k_vrh"].tolist() == [41, 152, 23.5, 275]
    assert frame["prototype"].tolist() == ["rocksalt"] * 4
    assert frame.loc["MgO", "path"] == (source.path / "MgO/CHGCAR").as_posix()
    assert frame.loc["MgO", "size_bytes"] == len("density of MgO")
    assert frame["shard"].tolist() == [shard_of(material_id, 3) for material_id in sorted(IDS)]


def test_catalog_of_demo_matches_its_table(demo, catalogue: Catalogue) -> None:
    made = catalogue(DirectorySource(path=demo))
    rows = [line.split(",") for line in (demo / "properties.csv").read_text().splitlines()]
    column = rows[0].index("k_vrh_GPa")
    expected = {row[0]: float(row[column]) for row in rows[1:]}
    assert made.rejected == {}
    assert made.frame["k_vrh"].to_dict() == expected


@pytest.mark.parametrize(
    ("folder", "files"),
    [("X", ["CHGCAR.gz", "CHG"]), ("X", ["CHGCAR.xz"]), ("X", ["CHG.bz2", "OUTCAR"])],
    ids=["chgcar-beats-chg", "xz", "chg-alone"],
)
def test_density_file_of_a_folder(source: DirectorySource, catalogue: Catalogue, folder, files) -> None:
    (source.path / folder).mkdir()
    for name in files:
        (source.path / folder / name).write_text(name)
    assert catalogue(source).frame.loc[folder, "path"] == (source.path / folder / files[0]).as_posix()


def test_structure_file_beside_the_density_counts_in_the_key(source: DirectorySource, catalogue: Catalogue) -> None:
    before = catalogue(source).frame
    (source.path / "MgO/POSCAR").write_text("Mg O")
    after = catalogue(source).frame
    assert after.loc["MgO", "structure_path"] == (source.path / "MgO/POSCAR").as_posix()
    assert after.loc["MgO", "content_key"] != before.loc["MgO", "content_key"]
    assert after.loc["NaCl", "content_key"] == before.loc["NaCl", "content_key"]


def _add_row(source: DirectorySource, row: str) -> None:
    (source.path / source.properties).write_text(TABLE + row + "\n")


def test_folder_without_density_is_rejected(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "TiN/CHGCAR").unlink()
    made = catalogue(source)
    assert made.rejected["TiN"]["reason"] == Reason.NO_DENSITY
    assert "TiN holds no CHGCAR or CHG" in made.rejected["TiN"]["detail"]
    assert "TiN" not in made.frame.index


def test_broken_link_is_no_density(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "TiN/CHGCAR").unlink()
    (source.path / "TiN/CHGCAR").symlink_to("nowhere")
    assert catalogue(source).rejected["TiN"]["reason"] == Reason.NO_DENSITY


def test_row_without_folder_is_named(source: DirectorySource, catalogue: Catalogue) -> None:
    _add_row(source, "KBr,15,4.2,rocksalt")
    detail = catalogue(source).rejected["KBr"]
    assert detail["reason"] == Reason.NO_DENSITY
    assert "properties.csv row 5" in detail["detail"]
    assert f"no folder {source.path / 'KBr'}" in detail["detail"]


def test_id_twice_in_the_table_is_rejected_and_the_rest_stays(source: DirectorySource, catalogue: Catalogue) -> None:
    _add_row(source, "MgO,160,4.5,rocksalt")
    made = catalogue(source)
    assert made.rejected["MgO"]["reason"] == Reason.DUPLICATE_ID
    assert "row 2, 5" in made.rejected["MgO"]["detail"]
    assert made.frame.index.tolist() == ["AgCl", "NaCl", "TiN"]


def test_two_density_files_of_one_id_are_rejected(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "MgO/CHGCAR.gz").write_text("another")
    entry = catalogue(source).rejected["MgO"]
    assert entry["reason"] == Reason.TWO_DENSITIES
    assert "CHGCAR, CHGCAR.gz" in entry["detail"]


@pytest.mark.parametrize("bad", ["../MgO", "Mg/O", "Mg O", ""], ids=["parent", "separator", "blank", "empty"])
def test_bad_id_in_the_table_is_rejected(source: DirectorySource, catalogue: Catalogue, bad: str) -> None:
    _add_row(source, f"{bad},1,1,x")
    made = catalogue(source)
    assert made.rejected[bad]["reason"] == Reason.BAD_ID
    assert "only letters, digits" in made.rejected[bad]["detail"]
    assert made.frame.index.tolist() == sorted(IDS)


def test_bad_folder_name_is_rejected(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "Mg O").mkdir()
    (source.path / os.fsdecode(b"Mg\xff")).mkdir()
    made = catalogue(source)
    assert {made.rejected["Mg O"]["reason"], made.rejected["Mg\\udcff"]["reason"]} == {Reason.BAD_ID}


def test_cell_that_is_no_number_is_told_and_the_material_stays(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "properties.csv").write_text(TABLE.replace("MgO,152", "MgO,12;5").replace("TiN,275", "TiN,n/a"))
    made = catalogue(source)
    assert made.rejected["MgO"]["reason"] == Reason.NO_PROPERTY
    assert "k_vrh_GPa = '12;5' is no finite number" in made.rejected["MgO"]["detail"]
    assert np.isnan(made.frame.loc["MgO", "k_vrh"])
    assert made.frame.loc["MgO", "band_gap"] == 4.5
    assert np.isnan(made.frame.loc["TiN", "k_vrh"])  # n/a is an honest gap, no mistake
    assert set(made.rejected) == {"MgO"}


def test_material_without_a_row_has_no_properties(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "KBr").mkdir()
    (source.path / "KBr/CHGCAR").write_text("density")
    frame = catalogue(source).frame
    assert np.isnan(frame.loc["KBr", "k_vrh"])
    assert frame.loc["KBr", "prototype"] == ""


def test_nothing_usable_stops_the_study(source: DirectorySource, catalogue: Catalogue) -> None:
    for material_id in IDS:
        (source.path / material_id / "CHGCAR").unlink()
    with pytest.raises(StudyError, match=r"no usable material.*\n.*AgCl"):
        catalogue(source)


def test_missing_folder_names_the_key_and_the_remedy(catalogue: Catalogue) -> None:
    with pytest.raises(StudyError, match=r"source.path = '/no/such': no such folder .*one sub-folder a material"):
        catalogue(DirectorySource(path="/no/such"))


def test_text_column_with_a_name_of_the_catalogue_is_refused(source: DirectorySource, catalogue: Catalogue) -> None:
    (source.path / "properties.csv").write_text("material_id,path\nMgO,here\n")
    with pytest.raises(StudyError, match="column 'path' is a name that the catalogue needs itself"):
        catalogue(source)


def test_reordered_rows_and_columns_give_the_same_bytes(source: DirectorySource, catalogue: Catalogue) -> None:
    made = catalogue(source)
    before, print_before = made.table.read_bytes(), source_fingerprint(source)
    header, *rows = [line.split(",") for line in TABLE.split()]
    random.Random(0).shuffle(rows)
    shuffled = "\n".join(",".join(row) for row in [header, *rows]) + "\n"
    (source.path / "properties.csv").write_text(shuffled)
    assert source_fingerprint(source) == print_before
    turned = "\n".join(",".join(row[::-1]) for row in [header, *rows]) + "\n"
    (source.path / "properties.csv").write_text(turned)
    assert catalogue(source).table.read_bytes() == before


def test_unchanged_catalogue_is_not_written_again(source: DirectorySource, catalogue: Catalogue) -> None:
    made = catalogue(source)
    os.utime(made.table, ns=(OLD_NS, OLD_NS))
    catalogue(source)
    assert made.table.stat().st_mtime_ns == OLD_NS


def test_content_key_is_the_files_content_not_its_date(source: DirectorySource, catalogue: Catalogue) -> None:
    before = catalogue(source).frame["content_key"]
    (source.path / "MgO/CHGCAR").touch()
    (source.path / "NaCl/CHGCAR").write_text("density of NaCL")
    after = catalogue(source).frame["content_key"]
    assert (before != after).to_dict() == {"AgCl": False, "MgO": False, "NaCl": True, "TiN": False}


def test_unchanged_files_are_not_read_again(source: DirectorySource, catalogue: Catalogue, monkeypatch) -> None:
    for material_id in IDS:
        os.utime(source.path / material_id / "CHGCAR", ns=(OLD_NS, OLD_NS))
    before = catalogue(source).frame["content_key"]
    read: list[str] = []
    monkeypatch.setattr(content, "digest_file", lambda path: read.append(path.parent.name) or "new")
    os.utime(source.path / "MgO/CHGCAR", ns=(OLD_NS + 1, OLD_NS + 1))
    after = catalogue(source).frame["content_key"]
    assert read == ["MgO"]
    assert (before != after).tolist() == [False, True, False, False]


def test_just_written_file_is_read_again(source: DirectorySource, catalogue: Catalogue) -> None:
    """Same size and, on a coarse clock, the same time: only reading tells the difference."""
    file = source.path / "MgO/CHGCAR"
    stat = file.stat()
    before = catalogue(source).frame.loc["MgO", "content_key"]
    file.write_text("DENSITY of MgO")
    os.utime(file, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert catalogue(source).frame.loc["MgO", "content_key"] != before


@pytest.mark.parametrize("junk", ["", "{", "[1]", '{"a": 1}'], ids=["empty", "half", "list", "strange"])
def test_damaged_cache_is_ignored(source: DirectorySource, catalogue: Catalogue, junk: str) -> None:
    made = catalogue(source)
    before = made.table.read_bytes()
    made.cache.parent.mkdir(parents=True, exist_ok=True)
    made.cache.write_text(junk)
    assert catalogue(source).table.read_bytes() == before


def test_content_key_is_made_of_sha256(source: DirectorySource, catalogue: Catalogue) -> None:
    digest = hashlib.sha256(b"density of MgO").hexdigest()
    expected = hashlib.sha256(json.dumps([digest, False]).encode()).hexdigest()
    assert catalogue(source).frame.loc["MgO", "content_key"] == expected


def _touch(source: DirectorySource) -> None:
    os.utime(source.path / "MgO/CHGCAR", ns=(OLD_NS, OLD_NS))


def _remove(source: DirectorySource) -> None:
    (source.path / "MgO/CHGCAR").unlink()


def _edit_table(source: DirectorySource) -> None:
    (source.path / "properties.csv").write_text(TABLE.replace("275", "276"))


def _add_sidecar(source: DirectorySource) -> None:
    (source.path / "properties.csv.units.json").write_text("{}")


@pytest.mark.parametrize("change", [_touch, _remove, _edit_table, _add_sidecar])
def test_fingerprint_notices(source: DirectorySource, change) -> None:
    before = source_fingerprint(source)
    change(source)
    assert source_fingerprint(source) != before


def test_fingerprint_ignores_files_that_the_catalogue_does_not_read(source: DirectorySource) -> None:
    before = source_fingerprint(source)
    for name in ("OSZICAR", "WAVECAR", "AECCAR0", "dos.json"):  # the last two serve other studies
        (source.path / "MgO" / name).write_text("log")
    (source.path / "properties.csv").touch()
    (source.path / ".git").mkdir()
    assert source_fingerprint(source) == before


def test_fingerprint_notices_another_id_in_the_file_of_ids(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    source = MaterialsProjectSource(ids=ids)
    absent = source_fingerprint(source)
    ids.write_text("mp-149\nmp-13\n")
    before = source_fingerprint(source)
    ids.write_text("mp-13\n\nmp-149")
    assert source_fingerprint(source) == before  # the order does not matter
    ids.write_text("mp-149\nmp-13\nmp-30\n")
    assert len({absent, before, source_fingerprint(source)}) == 3
    assert source_fingerprint(MaterialsProjectSource(ids=["mp-149"])) == ""


def test_fingerprint_is_light_to_import() -> None:
    """The Snakefile imports it each time it is read."""
    code = "import sys, rhoflow.sources.catalog; print(sorted({'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() in ("[]", "['numpy']")
