"""What the archive keeps of a density: grid, precision, AECCAR fields, and what the run file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pymatgen.core import Structure
from vasp_text import NACL, chgcar_text, waves

from rhoflow.density.grids import grid_shard, read_grids
from rhoflow.density.ingest import ingest_shard
from rhoflow.density.record import Keep, MaterialRecord, make_record
from rhoflow.density.regrid import regrid
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import Record, content_digest, read_record
from rhoflow.sources.local import LocalFiles
from tests.sources.vasp_runs import VaspRun, vasprun_text

GRID, SHAPE = (10, 9, 8), (6, 7, 5)
SINGLE = float(np.finfo(np.float32).eps)
TOTAL, SPIN = waves(GRID, 8), waves(GRID, 2, seed=1)
CORE, ATOMS, VALENCE = waves(GRID, 20.3, seed=2), waves(GRID, 8.02, seed=3), waves(GRID, 8.01, seed=4)
ENTRY = {"id": "NaCl", "key": "k"}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with its CHGCAR and all AECCAR files."""
    for name, blocks in {
        "CHGCAR": [TOTAL, SPIN],
        "AECCAR0": [CORE],
        "AECCAR1": [ATOMS],
        "AECCAR2": [VALENCE],
    }.items():
        (tmp_path / name).write_bytes(chgcar_text(NACL, blocks))
    return tmp_path


def files_of(folder: Path, *numbers: int, run: Path | None = None) -> LocalFiles:
    aeccar = [folder / f"AECCAR{k}" if k in numbers else None for k in range(3)]
    density = folder / "CHGCAR"
    return LocalFiles(density, None, run, (aeccar[0], aeccar[1], aeccar[2]), None, str(density))


def made(
    folder: Path, *numbers: int, field: str = "total", raw: str = "native", run: Path | None = None
) -> MaterialRecord:
    return make_record(ENTRY, files_of(folder, *numbers, run=run), Keep(field, raw, SHAPE))


Archive = Callable[[str], Record]


@pytest.fixture
def archived(run_folder: Path, tmp_path: Path) -> Archive:
    """The record of the run as a reader of the archive gets it, for each `raw`."""
    empty = {"structure": None, "run": None, "aeccar": [None] * 3, "sha256": None, "bytes": None}
    plan = tmp_path / "0003.json"
    plan.write_text(json.dumps({"materials": [ENTRY | empty | {"density": str(run_folder / "CHGCAR")}]}))

    def read(raw: str) -> Record:
        store = tmp_path / raw / "0003.h5"
        settings: dict[str, Any] = {"field": "total", "shape": SHAPE, "connections": 1, "keep": None}
        ingest_shard(plan, store, raw=raw, scratch=tmp_path / "scratch", **settings)
        return read_record(store, "NaCl")

    return read


# --- raw


def test_native_keeps_every_bit(archived: Archive, run_folder: Path) -> None:
    fields = archived("native").fields
    assert fields["total"].dtype == np.float64
    assert fields["total"].tobytes() == made(run_folder).fields["total"].tobytes()


@pytest.mark.parametrize("name", ["total", "spin"])
def test_float32_keeps_the_grid_in_single_precision(archived: Archive, name: str) -> None:
    native, single = archived("native").fields[name], archived("float32").fields[name]
    assert single.dtype == np.float64
    assert np.array_equal(single, native.astype(np.float32))
    assert 0 < np.abs(single / native - 1).max() < SINGLE


@pytest.mark.parametrize("name", ["total", "spin"])
def test_none_keeps_the_unified_grid(archived: Archive, name: str) -> None:
    native, none = archived("native").fields[name], archived("none").fields[name]
    assert (none.shape, none.dtype) == (SHAPE, np.float64)
    assert np.array_equal(none, regrid(native, SHAPE).astype(np.float32))


def test_structure_and_electrons_are_the_same_whatever_is_kept(archived: Archive) -> None:
    native, none = archived("native"), archived("none")
    assert none.structure == native.structure
    assert none.attrs == native.attrs
    assert none.attrs["electrons"] == pytest.approx(8, abs=1e-9)


def test_unified_grids_are_the_same_bits_from_none_as_from_native(archived: Archive, tmp_path: Path) -> None:
    grids: dict[str, zarr.Array] = {}
    for raw in ("native", "none"):
        archived(raw)
        store = tmp_path / f"{raw}.zarr.zip"
        grid_shard(tmp_path / raw / "0003.h5", store, field="total", shape=SHAPE, smoothing=0.0)
        grids[raw] = read_grids(store)[1][0]
    assert np.array_equal(grids["native"], grids["none"])


def test_digest_tells_apart_what_is_kept(run_folder: Path) -> None:
    records = [made(run_folder, raw=raw) for raw in ("native", "float32", "none")]
    assert len({content_digest(record.fields) for record in records}) == 3


# --- AECCAR


def test_all_electron_is_core_plus_valence(run_folder: Path) -> None:
    rho = made(run_folder, 0, 2, field="all_electron").fields["all_electron"]
    np.testing.assert_allclose(rho * NACL.volume, CORE + VALENCE, rtol=0, atol=1e-8)


def test_deformation_is_valence_minus_free_atoms(run_folder: Path) -> None:
    rho = made(run_folder, 1, 2, field="deformation").fields["deformation"]
    np.testing.assert_allclose(rho * NACL.volume, VALENCE - ATOMS, rtol=0, atol=1e-8)


def test_deformation_without_both_files_is_left_to_the_promolecule(run_folder: Path) -> None:
    assert sorted(made(run_folder, 2, field="deformation").fields) == ["spin", "total"]


@pytest.mark.parametrize("field", ["total", "spin"])
def test_other_fields_read_no_aeccar(run_folder: Path, field: str) -> None:
    (run_folder / "AECCAR0").write_text("not read")
    assert sorted(made(run_folder, 0, 1, 2, field=field).fields) == ["spin", "total"]


@pytest.mark.parametrize(
    ("there", "missing"), [((), "AECCAR0 and AECCAR2"), ((0, 1), "AECCAR2"), ((2,), "AECCAR0")], ids=str
)
def test_all_electron_without_its_files_is_a_rejection_that_names_them(
    run_folder: Path, there: tuple[int, ...], missing: str
) -> None:
    with pytest.raises(RejectedMaterialError, match=f"needs {missing}, which VASP writes") as caught:
        made(run_folder, *there, field="all_electron")
    assert caught.value.reason is Reason.NO_FIELD


FOREIGN = {
    "another grid": (NACL, waves((10, 9, 9), 8)),
    "another cell": (NACL.copy().apply_strain(0.01), CORE),
    "another element": (NACL.copy().replace_species({"Na": "K"}), CORE),
    "another site": (NACL.copy().translate_sites([1], [0.01, 0, 0]), CORE),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_aeccar_of_another_run_is_rejected(run_folder: Path, case: str) -> None:
    structure, block = FOREIGN[case]
    (run_folder / "AECCAR0").write_bytes(chgcar_text(structure, [block]))
    with pytest.raises(RejectedMaterialError, match=r"AECCAR0: .* must agree; give the files of one run") as caught:
        made(run_folder, 0, 2, field="all_electron")
    assert caught.value.reason is Reason.BAD_STRUCTURE


def test_aeccar_whose_sites_lie_in_the_next_cell_is_of_the_same_run(run_folder: Path) -> None:
    shifted = Structure(NACL.lattice, NACL.species, NACL.frac_coords + [1, 0, -1])
    (run_folder / "AECCAR0").write_bytes(chgcar_text(shifted, [CORE]))
    assert "all_electron" in made(run_folder, 0, 2, field="all_electron").fields


def test_real_aeccar_files_of_silicon(shared_data: Path, tmp_path: Path) -> None:
    """AECCAR2 - AECCAR1 of real silicon: bonds gain what the atoms lose, within VASP's own sampling of the cores."""
    names = [f"Si_static.{name}.gz" for name in ("CHGCAR", "AECCAR0", "AECCAR1", "AECCAR2")]
    density, *aeccar = (shared_data / "chgcar" / name for name in names)
    files = LocalFiles(density, None, None, (aeccar[0], aeccar[1], aeccar[2]), None, "Si")
    record = make_record(ENTRY, files, Keep("deformation", "native", SHAPE))
    rho, cell = record.fields["deformation"], record.structure.lattice
    assert abs(rho.mean() * cell.volume) < 0.02  # e
    one, two = record.structure.frac_coords[:2]
    middle = (one + (two - one - np.round(two - one)) / 2) % 1
    point = tuple(round(x * n) % n for x, n in zip(middle, rho.shape, strict=True))
    assert 0.1 < rho[point] < 0.3  # e/A^3, the bond charge


# --- the run file


def run_file(folder: Path) -> Path:
    path = folder / "vasprun.xml"
    path.write_bytes(vasprun_text(VaspRun()))
    return path


def test_run_without_file_says_nothing(run_folder: Path) -> None:
    record = made(run_folder)
    assert record.stats["run"] is None
    assert "valence" not in record.attrs


def test_run_gives_properties_and_valence(run_folder: Path) -> None:
    record = made(run_folder, run=run_file(run_folder))
    run = record.stats["run"]
    assert run["properties"]["nsites"] == 2
    assert run["properties"]["energy_per_atom"] == pytest.approx(-6.80123456 / 2, abs=1e-8)
    assert (run["valence"], run["note"]) == ({"Na": 7.0, "Cl": 7.0}, None)
    assert json.loads(str(record.attrs["valence"])) == {"Na": 7.0, "Cl": 7.0}


def test_unreadable_run_costs_its_properties_not_the_density(run_folder: Path) -> None:
    (run_folder / "vasprun.xml").write_text("<modeling>")
    record = made(run_folder, run=run_folder / "vasprun.xml")
    assert "total" in record.fields
    assert (record.stats["run"]["properties"], record.stats["run"]["valence"]) == ({}, None)
    assert "vasprun.xml" in record.stats["run"]["note"]


def test_run_of_another_crystal_is_not_this_densitys(run_folder: Path) -> None:
    (run_folder / "CHGCAR").write_bytes(chgcar_text(NACL.copy().replace_species({"Na": "K"}), [TOTAL]))
    run = made(run_folder, run=run_file(run_folder)).stats["run"]
    assert run["properties"] == {}
    assert "give the file of its run" in run["note"]
