"""The field of a study: read, computed, or refused with words; the two stages that ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from slice_crystals import crystal

from rhoflow.config import SliceOptions
from rhoflow.density.fields import check_field, select_field
from rhoflow.density.grids import grid_shard, read_grids
from rhoflow.density.images import slice_shard
from rhoflow.density.promolecule import deformation, promolecule
from rhoflow.density.read import read_density
from rhoflow.density.regrid import regrid
from rhoflow.density.slices import slice_image
from rhoflow.density.valence import choose_valence
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import ArchiveWriter, Record
from rhoflow.materials.shards import read_report

SHAPE = (24, 24, 24)
SMOOTHING = 0.3  # A
NAMED = {"Cl": "3p5 3s2", "Na": "2p6 3s1"}
STATED = {"Na": 7.0, "Cl": 7.0}
ZERO = 1e-6  # of the density's maximum: single precision of the table
DEMO_SMOOTHING = 0.08  # A, see resources/demo/README.md


def record(structure: Structure, fields: dict[str, np.ndarray], **attrs) -> Record:
    return Record("mp-1", structure, fields, attrs)


def free_atoms(structure: Structure, stated=None, *, smoothing=SMOOTHING) -> np.ndarray:
    """Density of a crystal whose atoms do not bond."""
    flat = np.full(SHAPE, 14.0 * len(structure) / 2 / structure.volume)
    return promolecule(structure, SHAPE, choose_valence(flat, structure, stated), smoothing=smoothing)


@pytest.fixture
def sodium_chloride() -> Structure:
    return crystal("NaCl")


def test_archived_deformation_comes_before_the_computed_one(sodium_chloride):
    archived = np.random.default_rng(0).normal(size=SHAPE)
    chosen = record(sodium_chloride, {"total": free_atoms(sodium_chloride), "deformation": archived})
    assert np.array_equal(select_field(chosen, "deformation", SMOOTHING), archived)
    assert check_field(chosen, "deformation") == {}


def test_deformation_is_the_total_without_its_free_atoms(sodium_chloride):
    moved = 0.1 * np.random.default_rng(0).normal(size=SHAPE)
    moved -= moved.mean()
    chosen = record(sodium_chloride, {"total": free_atoms(sodium_chloride) + moved})
    found = select_field(chosen, "deformation", SMOOTHING)
    np.testing.assert_allclose(found, moved, rtol=0, atol=ZERO * free_atoms(sodium_chloride).max())
    assert check_field(chosen, "deformation") == {"free_atoms": NAMED}


def test_smoothing_is_that_of_the_density(sodium_chloride):
    chosen = record(sodium_chloride, {"total": free_atoms(sodium_chloride, smoothing=0.3)})
    size = chosen.fields["total"].max()
    assert np.abs(select_field(chosen, "deformation", 0.3)).max() < ZERO * size
    assert np.abs(select_field(chosen, "deformation", 0.2)).max() > 0.1 * size
    assert np.abs(select_field(chosen, "deformation")).max() > 0.1 * size


def test_single_precision_archive_gives_double_precision(sodium_chloride):
    total = free_atoms(sodium_chloride)
    chosen = record(sodium_chloride, {"total": total.astype(np.float32)})
    found = select_field(chosen, "deformation", SMOOTHING)
    assert found.dtype == select_field(chosen, "total").dtype == np.float64
    np.testing.assert_allclose(found, 0, rtol=0, atol=ZERO * total.max())
    assert abs(found.mean()) < 1e-12


def test_what_the_run_states_is_used(sodium_chloride):
    chosen = record(sodium_chloride, {"total": free_atoms(sodium_chloride)}, valence=json.dumps(STATED))
    assert check_field(chosen, "deformation") == {"free_atoms": NAMED}
    other = record(sodium_chloride, {"total": free_atoms(sodium_chloride)}, valence=json.dumps({"Na": 9, "Cl": 7}))
    for ask in (check_field, select_field):
        with pytest.raises(RejectedMaterialError, match=r"mp-1: .* that its run states") as caught:
            ask(other, "deformation")
        assert caught.value.reason is Reason.VALENCE


def test_missing_element_is_named_with_its_material():
    structure = Structure(Lattice.cubic(4.0), ["Bk"], [[0, 0, 0]])
    chosen = record(structure, {"total": np.full(SHAPE, 19.0 / 64)})
    with pytest.raises(RejectedMaterialError, match="mp-1: no free atom of Bk") as caught:
        select_field(chosen, "deformation")
    assert caught.value.reason is Reason.NO_FREE_ATOM


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("all_electron", "no field 'all_electron', .* holds total; .* put both files beside"),
        ("spin", "no field 'spin', .* holds total; choose one of these"),
    ],
)
def test_missing_field_is_refused_with_words(sodium_chloride, field, words):
    chosen = record(sodium_chloride, {"total": free_atoms(sodium_chloride)})
    for ask in (check_field, select_field):
        with pytest.raises(RejectedMaterialError, match=f"mp-1: {words}") as caught:
            ask(chosen, field)
        assert caught.value.reason is Reason.NO_FIELD


def test_all_electron_density_is_the_archived_one(sodium_chloride):
    archived = np.random.default_rng(0).uniform(size=SHAPE)
    chosen = record(sodium_chloride, {"total": archived / 2, "all_electron": archived})
    assert np.array_equal(select_field(chosen, "all_electron", SMOOTHING), archived)


@pytest.fixture
def archive(tmp_path) -> Path:
    """Sodium chloride whose density is that of free atoms but for one wave, and a crystal that does not add up."""
    path, structure = tmp_path / "0000.h5", crystal("NaCl")
    wave = 0.1 * np.cos(2 * np.pi * np.arange(SHAPE[0]) * 2 / SHAPE[0])[:, None, None]
    with ArchiveWriter(path) as writer:
        writer.add("mp-1", structure, {"total": free_atoms(structure) + wave})
        writer.add("mp-2", structure, {"total": free_atoms(structure) * 1.01})
    return path


def test_grids_hold_the_deformation_and_say_what_was_taken_away(archive, tmp_path):
    store = tmp_path / "0000.zarr.zip"
    grid_shard(archive, store, field="deformation", shape=(12, 12, 12), smoothing=SMOOTHING)
    ids, density = read_grids(store)
    assert ids == ["mp-1"]
    structure, expected = crystal("NaCl"), np.cos(2 * np.pi * np.arange(12) * 2 / 12)[:, None, None] * 0.1
    np.testing.assert_allclose(density[0], np.broadcast_to(expected, (12, 12, 12)), rtol=0, atol=1e-5)
    report = read_report(store)
    assert report.stats["mp-1"]["free_atoms"] == NAMED
    assert report.rejected["mp-2"]["reason"] == Reason.VALENCE
    assert f"holds {14 * len(structure) / 2 * 1.01:.3f} electrons" in report.rejected["mp-2"]["detail"]


def test_slices_cut_the_deformation(archive, tmp_path):
    store = tmp_path / "0000.npz"
    options = SliceOptions(pixels=24, plane=(1, 1, 1), png=False)
    slice_shard(archive, store, field="deformation", options=options, shape=(12, 12, 12), smoothing=SMOOTHING)
    structure = crystal("NaCl")
    total = free_atoms(structure) + 0.1 * np.cos(2 * np.pi * np.arange(24) * 2 / 24)[:, None, None]
    rho = deformation(total, structure, choose_valence(total, structure), smoothing=SMOOTHING)
    cut = slice_image(rho, structure, hkl=(1, 1, 1), through="heaviest", window=options.window, pixels=24)
    with np.load(store, allow_pickle=False) as file:
        assert file["ids"].tolist() == ["mp-1"]
        assert float(file["amplitude"][0]) == pytest.approx(np.abs(cut.image - cut.image.mean()).max(), rel=1e-3)
    assert read_report(store).rejected["mp-2"]["reason"] == Reason.VALENCE


def test_demo_rock_salt_moves_charge_from_the_metal_to_the_halogen(demo):
    density = read_density(demo / "NaCl_rocksalt" / "CHGCAR.xz")
    structure = density.structure
    rho = select_field(record(structure, {"total": density.total}), "deformation", DEMO_SMOOTHING)
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in rho.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = structure.lattice.get_all_distances(structure.frac_coords, points)
    electrons = rho.ravel() * structure.volume / rho.size
    moved = {
        site.specie.symbol: electrons[row < 1.2].sum() for site, row in zip(structure, distance, strict=True)
    }  # spheres of 1.2 A
    assert moved["Na"] == pytest.approx(-0.09, abs=0.02)
    assert moved["Cl"] == pytest.approx(0.22, abs=0.02)
    assert abs(electrons.sum()) < 1e-9
    # what the README says to set: with the smoothing of VASP's files a false core remains
    false = select_field(record(structure, {"total": density.total}), "deformation", 0.0)
    assert np.abs(false).max() > 5 * np.abs(rho).max()


def test_deformation_of_a_regridded_archive_is_the_regridded_deformation(demo):
    density = read_density(demo / "NaCl_rocksalt" / "CHGCAR.xz")
    shape = (40, 40, 40)  # 48 in the file
    fine = select_field(record(density.structure, {"total": density.total}), "deformation", DEMO_SMOOTHING)
    coarse = record(density.structure, {"total": regrid(density.total, shape).astype(np.float32)})
    difference = select_field(coarse, "deformation", DEMO_SMOOTHING) - regrid(fine, shape)
    assert difference.std() < 0.03 * fine.std()  # what is left sits at the nuclei, where the waves were cut
