"""Every density of a tree is found, whatever the tree looks like, and each has one id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rhoflow.config import DirectorySource
from rhoflow.errors import Reason, StudyError
from rhoflow.sources.catalog import source_fingerprint
from rhoflow.sources.directory import Found, scan
from rhoflow.sources.plan import plan_paths, read_plan, write_plan

from .conftest import Catalogue


def _tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def _found(root: Path, **wanted: object) -> dict[str, Found]:
    return {material.name: material for material in scan(root, **wanted)}


def _names(material: Found) -> list[str]:
    return [Path(stamp.path).name for stamp in material.densities]


def _table_of(root: Path, *ids: str) -> DirectorySource:
    (root / "properties.csv").write_text("".join(f"{line}\n" for line in ("material_id,k_vrh_GPa", *ids)))
    return DirectorySource(path=root)


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["a/CHGCAR", "b/CHG.gz"], ["a", "b"]),
        (["a/b/c/CHGCAR.xz", "a/b/d/CHGCAR"], ["a--b--c", "a--b--d"]),
        (["a/CHGCAR", "a/static/CHGCAR"], ["a", "a--static"]),
        (["x/density.cube"], ["x"]),
        (["NaCl.CHGCAR.gz", "CHGCAR.MgO", "CHGCAR_TiN.bz2", "Si.cube.gz"], ["MgO", "NaCl", "Si", "TiN"]),
        (["Li.CHG", "CHG_K", "CHG.Na.gz"], ["K", "Li", "Na"]),
        (["set1/NaCl.CHGCAR", "set2/NaCl.cube"], ["set1--NaCl", "set2--NaCl"]),
        (["mp-1.2.CHGCAR.gz", "CHGCAR_Fe_bcc"], ["Fe_bcc", "mp-1.2"]),
        (["a/CHGCAR", "a/CHGCAR_sum", "a/CHGCAR.old", "a/rho.cube"], ["a"]),
        ([".hidden/CHGCAR", "._x.CHGCAR", "a/CHGCAR"], ["a"]),
        (["a/CHGCAR", "a/.snapshots/CHGCAR"], ["a"]),
    ],
    ids=["flat", "deep", "nested", "cube", "bare", "bare-chg", "bare-below", "dots", "by-products", "hidden", "snap"],
)
def test_ids_of_a_tree(tmp_path: Path, files: list[str], ids: list[str]) -> None:
    assert sorted(_found(_tree(tmp_path, *files))) == ids


def test_source_folder_may_be_a_run_itself(tmp_path: Path) -> None:
    assert list(_found(_tree(tmp_path / "Si_run", "CHGCAR", "vasprun.xml"))) == ["Si_run"]


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["a/CHGCAR", "a/CHG", "a/density.cube"], ["CHGCAR"]),
        (["a/CHG.xz", "a/density.cube"], ["CHG.xz"]),
        (["a.CHGCAR.gz", "a.CHG", "a.cube"], ["a.CHGCAR.gz"]),
        (["a.CHGCAR.gz", "a.CHGCAR"], ["a.CHGCAR", "a.CHGCAR.gz"]),
    ],
)
def test_best_kind_of_density_wins(tmp_path: Path, files: list[str], kept: list[str]) -> None:
    assert _names(_found(_tree(tmp_path, *files))["a"]) == kept


@pytest.mark.parametrize(
    ("density", "others"),
    [
        ("a/CHGCAR", ["a/structure.cif", "a/vasprun.xml.gz", "a/AECCAR0", "a/AECCAR2.xz", "a/dos.json"]),
        ("a.CHGCAR", ["a.cif", "a.vasprun.xml", "a.AECCAR0.gz", "a.AECCAR2", "a.dos.json"]),
        ("CHGCAR.a", ["POSCAR.a", "OUTCAR.a", "AECCAR0.a", "AECCAR2.a.gz", "dos.json.a"]),
        ("CHGCAR_a.gz", ["CONTCAR_a", "vasprun.xml_a", "AECCAR0_a", "AECCAR2_a", "dos.json_a"]),
    ],
    ids=["folder", "before", "dot", "underscore"],
)
def test_files_beside_a_density_are_noticed(tmp_path: Path, density: str, others: list[str]) -> None:
    found = _found(_tree(tmp_path, density, *others), aeccars=(0, 2), dos=True)["a"]
    structure, run, core, valence, dos = [f"{tmp_path}/{name}" for name in others]
    assert [stamp and stamp.path for stamp in (found.structure, found.run, *found.aeccar, found.dos)] == [
        structure,
        run,
        core,
        None,
        valence,
        dos,
    ]


def test_vasprun_is_preferred_to_outcar(tmp_path: Path) -> None:
    found = _found(_tree(tmp_path, "a/CHGCAR", "a/OUTCAR", "a/vasprun.xml.bz2"))["a"]
    assert found.run is not None
    assert found.run.path.endswith("vasprun.xml.bz2")


@pytest.mark.parametrize(
    ("field", "listed"),
    [("total", ""), ("spin", ""), ("all_electron", "02"), ("deformation", "12")],
)
def test_only_aeccars_that_the_field_needs_are_listed(
    tmp_path, catalogue: Catalogue, field: str, listed: str
) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "a/AECCAR0", "a/AECCAR1", "a/AECCAR2")
    row = catalogue(_table_of(root, "a,1"), field=field).frame.loc["a"]
    assert [k for k in "012" if row[f"aeccar{k}_path"] == f"{root}/a/AECCAR{k}"] == list(listed)
    assert [k for k in "012" if row[f"aeccar{k}_path"] is None] == [k for k in "012" if k not in listed]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a/vasprun.xml", "a/dos.json"], "dos.json"),
        (["a/vasprun.xml.gz"], "vasprun.xml.gz"),
        (["a/OUTCAR"], None),
        ([], None),
    ],
)
def test_where_the_dos_of_a_run_is(tmp_path, catalogue: Catalogue, files: list[str], expected: str | None) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", *files)
    source = _table_of(root, "a,1")
    assert catalogue(source, dos=True).frame.loc["a", "dos"] == (f"{root}/a/{expected}" if expected else None)
    assert catalogue(source).frame.loc["a", "dos"] is None


@pytest.mark.parametrize("name", ["AECCAR0", "AECCAR2", "dos.json", "vasprun.xml"])
def test_content_key_and_fingerprint_follow_the_files_that_the_study_reads(
    tmp_path: Path, catalogue: Catalogue, name: str
) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "a/AECCAR0", "a/AECCAR2", "a/dos.json", "a/vasprun.xml")
    source = _table_of(root, "a,1")
    rich, plain = {"field": "all_electron", "dos": True}, {"field": "total", "dos": False}

    def state(options: dict) -> tuple[str, str]:
        key = catalogue(source, **options).frame.loc["a", "content_key"]
        return key, source_fingerprint(source, **options)

    before = state(rich), state(plain)
    (root / "a" / name).write_text("something else, and longer")
    after = state(rich), state(plain)
    assert all(old != new for old, new in zip(before[0], after[0], strict=True))
    assert [old != new for old, new in zip(before[1], after[1], strict=True)] == [name == "vasprun.xml"] * 2


def test_plan_names_every_file(tmp_path: Path, catalogue: Catalogue) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "a/AECCAR1", "a/AECCAR2", "a/vasprun.xml", "a/POSCAR")
    made = catalogue(_table_of(root, "a,1"), n_shards=1, field="deformation", dos=True)
    write_plan(made.table, tmp_path / "plan", 1)
    (entry,) = read_plan(plan_paths(tmp_path / "plan")[0])
    run = f"{root}/a/vasprun.xml"
    assert (entry["run"], entry["dos"], entry["structure"]) == (run, run, f"{root}/a/POSCAR")
    assert entry["aeccar"] == [None, f"{root}/a/AECCAR1", f"{root}/a/AECCAR2"]


@pytest.mark.parametrize(
    "pair",
    [("a/b/CHGCAR", "a--b/CHGCAR"), ("x.CHGCAR", "CHGCAR.x"), ("x/CHGCAR", "x.cube"), ("CHGCAR.x", "CHGCAR_x")],
)
def test_two_paths_of_one_id_are_both_named(tmp_path: Path, catalogue: Catalogue, pair: tuple[str, str]) -> None:
    root = _tree(tmp_path / "runs", *pair, "good/CHGCAR")
    made = catalogue(_table_of(root, "good,1"))
    assert made.frame.index.tolist() == ["good"]
    (entry,) = made.rejected.values()
    assert entry["reason"] == Reason.DUPLICATE_ID
    assert entry["detail"].count(str(root)) == 2
    assert " and " in entry["detail"]


def test_loops_of_links_end_and_each_density_counts_once(tmp_path: Path) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "b/run/CHGCAR")
    (root / "a/self").symlink_to(".")
    (root / "a/up").symlink_to("..")
    (root / "a/other").symlink_to("../b")
    (root / "b/back").symlink_to(root)
    (root / "b/way-up").symlink_to("/")
    (root / "itself").symlink_to("itself")
    assert sorted(_found(root)) == ["a", "b--run"]


def test_link_out_of_the_tree_is_followed_once(tmp_path: Path) -> None:
    _tree(tmp_path / "elsewhere", "CHGCAR", "deep/CHGCAR")
    root = _tree(tmp_path / "runs", "a/CHGCAR")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere/deep")
    (root / "d.CHGCAR").symlink_to(tmp_path / "elsewhere/CHGCAR")
    assert sorted(_found(root)) == ["a", "b", "b--deep", "d"]


def test_source_that_is_a_link_itself_is_scanned(tmp_path: Path) -> None:
    _tree(tmp_path / "elsewhere", "a/CHGCAR")
    (tmp_path / "runs").symlink_to("elsewhere")
    assert sorted(_found(tmp_path / "runs")) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "names-only"])
def test_unreadable_folder_is_rejected_and_the_others_go_on(tmp_path: Path, catalogue: Catalogue, mode: int) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "b/c/CHGCAR")
    (root / "b/c").chmod(mode)
    try:
        made = catalogue(_table_of(root, "a,1"))
    finally:
        (root / "b/c").chmod(0o755)
    _check_unreadable(made, root)


def test_folder_that_cannot_be_listed_is_rejected(tmp_path: Path, catalogue: Catalogue, monkeypatch) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "b/c/CHGCAR")
    listed = os.scandir

    def scandir(path: str):
        if str(path).endswith("b/c"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    _check_unreadable(catalogue(_table_of(root, "a,1")), root)


def _check_unreadable(made, root: Path) -> None:
    assert made.frame.index.tolist() == ["a"]
    entry = made.rejected["b--c"]
    assert entry["reason"] == Reason.UNREADABLE
    assert f"{root}/b/c: Permission denied" in entry["detail"]
    assert set(made.rejected) == {"b--c"}


def test_folders_on_the_way_to_a_density_are_not_rejected(tmp_path: Path, catalogue: Catalogue) -> None:
    root = _tree(tmp_path / "runs", "set 1/a/CHGCAR", "set2/b/relax/OUTCAR", "set2/b/static/CHGCAR", "notes/x.txt")
    made = catalogue(_table_of(root, "set2--b--static,1"))
    assert made.frame.index.tolist() == ["set2--b--static"]
    assert {key: entry["reason"] for key, entry in made.rejected.items()} == {
        "set 1--a": Reason.BAD_ID,
        "notes": Reason.NO_DENSITY,
    }


def test_path_that_is_too_long_for_an_id_is_told_with_its_place(tmp_path: Path, catalogue: Catalogue) -> None:
    deep = "/".join(["folder-of-thirty-letters-aaaaa"] * 4)
    root = _tree(tmp_path / "runs", f"{deep}/CHGCAR", "a/CHGCAR")
    (entry,) = catalogue(_table_of(root, "a,1")).rejected.values()
    assert entry["reason"] == Reason.BAD_ID
    assert f"{root}/{deep}" in entry["detail"]
    assert "at most 100 characters" in entry["detail"]


@pytest.mark.parametrize("properties", [None, Path("properties.csv")], ids=["null", "default"])
def test_runs_do_without_a_table(tmp_path: Path, catalogue: Catalogue, properties: Path | None) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR", "a/OUTCAR", "b/CHGCAR")
    frame = catalogue(DirectorySource(path=root, properties=properties)).frame
    assert frame.index.tolist() == ["a", "b"]
    assert frame["run_path"].tolist() == [f"{root}/a/OUTCAR", None]
    assert frame.columns[-1] == "shard"


def test_null_leaves_a_table_that_is_there_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    root = _tree(tmp_path / "runs", "a/CHGCAR")
    _table_of(root, "a,1")
    assert "k_vrh" not in catalogue(DirectorySource(path=root, properties=None)).frame


@pytest.mark.parametrize(
    ("files", "properties"),
    [(["a/CHGCAR", "a/OUTCAR"], Path("mine.csv")), (["a/CHGCAR"], Path("properties.csv"))],
    ids=["named", "default-without-runs"],
)
def test_missing_table_stops_the_study(tmp_path: Path, catalogue: Catalogue, files, properties: Path) -> None:
    root = _tree(tmp_path / "runs", *files)
    with pytest.raises(StudyError, match=rf"source.properties: no file .*{properties}"):
        catalogue(DirectorySource(path=root, properties=properties))


def test_empty_tree_asks_for_densities_not_for_a_table(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(StudyError, match=r"no usable material; it needs <id>/CHGCAR"):
        catalogue(DirectorySource(path=_tree(tmp_path / "runs", "readme.txt")))


def test_fingerprint_notices_a_density_deep_in_the_tree(tmp_path: Path) -> None:
    root = _tree(tmp_path / "runs", "a/b/CHGCAR", "a/b/OSZICAR")
    source = DirectorySource(path=root, properties=None)
    before = source_fingerprint(source)
    (root / "a/b/OSZICAR").write_text("longer than it was")
    assert source_fingerprint(source) == before
    _tree(root, "a/c/d.cube")
    assert source_fingerprint(source) != before


def test_demo_keeps_its_ids(demo: Path) -> None:
    found = scan(demo, aeccars=(0, 1, 2), dos=True)
    folders = sorted(path.parent.name for path in demo.glob("*/CHGCAR.xz"))
    assert [material.name for material in found] == folders
    assert all(material.dos and material.structure and not material.run for material in found)


def test_real_files_side_by_side_in_one_folder(shared_data: Path) -> None:
    found = _found(shared_data / "chgcar", aeccars=(0, 1, 2))
    assert {"Al", "Fe3O4", "Ga", "Li", "LiH", "Li_nospin", "Li_spin", "NaCl", "Si_scaled", "Si_static"} <= set(found)
    silicon = found["Si_static"]
    assert _names(silicon) == ["Si_static.CHGCAR.gz"]
    assert [Path(stamp.path).name for stamp in silicon.aeccar if stamp] == [
        f"Si_static.AECCAR{k}.gz" for k in range(3)
    ]
