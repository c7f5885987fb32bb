"""What a study is said to need, against what it really writes; and a disk that is too small."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rhoflow.config import DirectorySource, MaterialsProjectSource, SliceOptions, Study
from rhoflow.density.grids import grid_shard
from rhoflow.density.images import slice_shard
from rhoflow.density.ingest import ingest_shard
from rhoflow.errors import StudyError
from rhoflow.materials.shards import ShardReport
from rhoflow.sources import estimate as estimates
from rhoflow.sources.catalog import write_catalog
from rhoflow.sources.estimate import Need, check_disk, estimate, read_materials
from rhoflow.sources.plan import write_plan
from rhoflow.sources.rows import FIXED
from rhoflow.sources.samples import KINDS, kind_of, sample_kind
from rhoflow.sources.stable import parquet_bytes
from rhoflow.sources.trained import Trained, trained
from rhoflow.training.names import network_runs

CRYSTALS = ("AgCl_rocksalt", "Al_fcc", "C_diamond", "CuCl_zincblende", "Ni_fcc", "TiCoSb_half-heusler")
FACTOR = 1.5  # what is said and what is written differ by no more
LARGE = 100_000


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """A result folder with the catalogue and plan of some demo crystals in one shard."""
    folder = tmp_path_factory.mktemp("estimate")
    for name in CRYSTALS:
        shutil.copytree(demo / name, folder / "crystals" / name)
    (folder / "crystals/properties.csv").write_text("material_id,k_vrh_GPa\nAl_fcc,77\n")
    root = folder / "results"
    source = DirectorySource(path=folder / "crystals")
    catalog = root / "catalog/materials.parquet"
    write_catalog(source, catalog, root / "catalog/rejected.json", n_shards=1, cache=folder / "keys.json")
    write_plan(catalog, root / "plan", 1)
    return root


def needs_of(root: Path, **study: Any) -> dict[str, Need]:
    study = {"source": DirectorySource(), "slices": {"pixels": 96}} | study
    materials = read_materials(root / "catalog/materials.parquet")
    return {need.stage: need for need in estimate(materials, root, Study(**study))}


def ingest(root: Path, raw: str) -> Path:
    store = root / f"raw-{raw}/0000.h5"
    options = {"field": "total", "raw": raw, "shape": (32, 32, 32), "scratch": root / "scratch"}
    ingest_shard(root / "plan/0000.json", store, **options, connections=1, keep=None)
    return store


@pytest.mark.parametrize("raw", ["native", "float32", "none"])
def test_archive_is_as_large_as_was_said(crystals: Path, raw: str) -> None:
    said = needs_of(crystals, raw=raw, grid={"shape": [32, 32, 32]})["raw"]
    written = ingest(crystals, raw).stat().st_size
    assert said.materials == len(CRYSTALS)
    assert 1 / FACTOR < said.disk / written < FACTOR


@pytest.mark.parametrize("edge", [32, 60])
def test_grids_are_as_large_as_was_said(crystals: Path, edge: int) -> None:
    said = needs_of(crystals, grid={"shape": [edge] * 3})["grids"]
    store = crystals / f"grids-{edge}/0000.zarr.zip"
    grid_shard(ingest(crystals, "native"), store, field="total", shape=(edge, edge, edge))
    assert 1 / FACTOR < said.disk / store.stat().st_size < FACTOR


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (75, {"fourier": False, "png": True}),
        (96, {"fourier": True, "png": True}),
        (299, {"fourier": False, "png": False}),
        (90, {"planes": 3, "png": False}),
        (80, {"planes": 3, "fourier": True, "png": True}),
    ],
)
def test_images_are_as_large_as_was_said(crystals: Path, pixels: int, options: dict[str, Any]) -> None:
    options = SliceOptions(pixels=pixels, **options)
    said = needs_of(crystals, slices=options)["slices"]
    store = crystals / f"slices-{pixels}-{options.planes}/0000.npz"
    slice_shard(ingest(crystals, "native"), store, field="total", options=options, shape=(32, 32, 32))
    written = sum(path.stat().st_size for path in store.parent.iterdir() if not path.name.endswith(".json"))
    assert 1 / FACTOR < said.disk / written < FACTOR


def test_other_images_are_as_large_as_was_said(crystals: Path) -> None:
    images = {"three": {"slices": {"planes": 3, "pixels": 60}}, "plain": {"slices": {"pixels": 60}}}
    study = Study(slices={"pixels": 96, "fourier": True}, ablation={"images": images})
    said = needs_of(crystals, slices=study.slices, ablation=study.ablation)
    archive = ingest(crystals, "native")
    for name in images:
        # As the rule `images` cuts them: pictures and spectra are of the study's own images.
        options = study.with_images(name).slices.model_copy(update={"png": False, "fourier": False})
        store = crystals / f"images/{name}/0000.npz"
        slice_shard(archive, store, field="total", options=options, shape=(32, 32, 32))
        assert 1 / FACTOR < said[f"images/{name}"].disk / store.stat().st_size < FACTOR
    done = needs_of(crystals, slices=study.slices, ablation=study.ablation)
    assert done["images/three"].materials == 0 < done["slices"].materials


def test_object_of_the_materials_project_is_as_large_as_was_said(shared_data: Path, tmp_path: Path) -> None:
    from rhoflow.density.read import read_density
    from rhoflow.materials.archive import ArchiveWriter

    path = shared_data / "materials_project/mp-2680643.json.gz"
    density = read_density(path)
    with ArchiveWriter(tmp_path / "0000.h5") as archive:
        archive.add("mp-1", density.structure, {"total": density.total, **density.spin})
    grid_shard(tmp_path / "0000.h5", tmp_path / "0000.zarr.zip", field="total", shape=(60, 60, 60))
    root = remote_study(tmp_path, n=1, size=path.stat().st_size)
    said = needs_of(root, source=MaterialsProjectSource())
    assert 1 / FACTOR < said["raw"].disk / (tmp_path / "0000.h5").stat().st_size < FACTOR
    assert 1 / FACTOR < said["grids"].disk / (tmp_path / "0000.zarr.zip").stat().st_size < FACTOR
    assert said["downloads"].download == path.stat().st_size


def remote_study(folder: Path, *, n: int, size: int, **columns: Any) -> Path:
    """A result folder with a catalogue of n objects of a bucket, in two shards."""
    rows = []
    for k in range(n):
        location = f"s3://materialsproject-parsed/chgcars/mp-{k}.json.gz"
        row = {"material_id": f"mp-{k}", "path": location, "size_bytes": size, "shard": f"{k % 2:04d}"}
        rows.append(dict.fromkeys(FIXED) | row | columns)
    frame = pd.DataFrame(rows)
    root = folder / "results"
    (root / "catalog").mkdir(parents=True)
    (root / "catalog/materials.parquet").write_bytes(
        parquet_bytes({name: pa.array(frame[name].tolist()) for name in frame})
    )
    return root


def test_whole_materials_project_is_what_its_users_report(tmp_path: Path) -> None:
    """122,689 densities of 1.29 M points: about 1.3 TB a field on the native grid, 106 GB of 60^3 before packing."""
    n, points = 1000, 1.29e6
    root = remote_study(tmp_path, n=n, size=int(2 * points * 6.5))
    needs = needs_of(root, source=MaterialsProjectSource())
    whole = 122_689 / n / 1e9
    assert 1 / FACTOR < needs["raw"].disk * whole / 2 / 1300 < FACTOR
    assert 1 / FACTOR < needs["grids"].disk * whole / 106 < FACTOR
    assert needs["raw"].materials == n


def test_nothing_more_is_needed_for_what_is_there(tmp_path: Path) -> None:
    root = remote_study(tmp_path, n=10, size=LARGE)
    before = needs_of(root, source=MaterialsProjectSource())
    done = {f"mp-{k}": "digest" for k in (0, 2, 4, 6)}
    report = ShardReport("ingest", done, {}, {"mp-8": {"reason": "empty file", "detail": ""}})
    report.write(root / "raw/0000.h5")
    after = needs_of(root, source=MaterialsProjectSource())
    assert (before["raw"].materials, before["grids"].materials, before["downloads"].materials) == (10, 10, 10)
    # mp-8 was rejected: nothing comes after it. The others of the shard have no grid yet.
    assert (after["raw"].materials, after["grids"].materials, after["downloads"].materials) == (5, 9, 5)
    assert after["raw"].disk == pytest.approx(before["raw"].disk / 2)
    assert after["downloads"].download == 5 * LARGE


@pytest.mark.parametrize(
    ("before", "after"), [("none", "none"), ("native", "float32"), ("float32", "none"), ("none", "native")]
)
def test_archive_of_another_raw_is_made_again_in_the_place_of_the_old(
    crystals: Path, tmp_path: Path, before: str, after: str
) -> None:
    shutil.copytree(crystals / "catalog", tmp_path / "catalog")
    shutil.copytree(ingest(crystals, before).parent, tmp_path / "raw")
    grid = {"shape": [32, 32, 32]}
    needs = needs_of(tmp_path, raw=after, grid=grid)["raw"]
    if before == after:
        assert (needs.materials, needs.disk) == (0, 0.0)
        return
    said = needs_of(crystals, raw=after, grid=grid)["raw"].disk
    assert needs.materials == len(CRYSTALS)
    assert needs.disk == max(0.0, said - (tmp_path / "raw/0000.h5").stat().st_size)


def test_added_materials_of_a_finished_shard_count(tmp_path: Path) -> None:
    root = remote_study(tmp_path, n=4, size=LARGE)
    ShardReport("ingest", {"mp-0": "digest"}).write(root / "raw/0000.h5")
    assert needs_of(root, source=MaterialsProjectSource())["raw"].materials == 3


@pytest.mark.parametrize("keep", [False, True])
def test_kept_downloads_take_disk_and_others_only_what_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    root = remote_study(tmp_path, n=1000, size=LARGE)
    source = MaterialsProjectSource(keep_downloads=keep, connections=1)
    needs = needs_of(root, source=source)
    if keep:
        assert needs["downloads (kept)"].disk == 1000 * LARGE
        kept = Path("downloads/materialsproject-parsed/chgcars/mp-7.json.gz")
        kept.parent.mkdir(parents=True)
        kept.touch()
        assert needs_of(root, source=source)["downloads (kept)"].download == 999 * LARGE
    else:
        assert needs["downloads"].disk == 0
        [flight] = [need for stage, need in needs.items() if stage.startswith("in flight")]
        jobs = min(estimates.os.cpu_count() or 1, 2)
        assert 2 * LARGE < flight.disk / jobs < needs["raw"].disk


@pytest.mark.parametrize(
    ("downloads", "connections", "jobs"),
    [(8, 4, 2), (8, 8, 1), (4, 8, 1), (8, 1, 2), (None, 4, 2)],
    ids=["two jobs", "one job", "capped job", "two shards", "no limit but the shards"],
)
def test_no_more_is_in_flight_than_shards_and_downloads_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: int | None, connections: int, jobs: int
) -> None:
    monkeypatch.setattr(estimates.os, "cpu_count", lambda: 64)
    root = remote_study(tmp_path, n=100, size=LARGE)
    study = Study(source=MaterialsProjectSource(connections=connections))
    materials = read_materials(root / "catalog/materials.parquet")
    needs = {need.stage: need for need in estimate(materials, root, study, downloads=downloads)}
    # A job holds its half of the archive twice until it is whole, and what it has fetched ahead.
    said = jobs * (needs["raw"].disk / 2 + 2 * connections * LARGE)
    assert needs[f"in flight ({jobs} jobs)"].disk == pytest.approx(said)


def test_networks_count_unless_their_size_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = remote_study(tmp_path, n=2, size=LARGE)
    for name in ("image/k_vrh/none/fold0", "image-f50/k_vrh/none/fold0", "images/k_vrh/none/fold0"):
        folder = root / f"runs/{name}/seed0"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    study = Study(
        source=MaterialsProjectSource(),
        image={"backbone": "inception_v3"},
        language={"backbone": "package:other"},
        models=["image", "text"],
        ablation={"fractions": [50], "models": ["image"], "targets": ["k_vrh"]},
    )
    runs = network_runs(study)
    assert runs == {"image": 2 * 3 + 3, "text": 2 * 3 * 3}  # targets, folds, levels
    words = [network.word for network in trained(study, runs)]
    set_free(monkeypatch, 1e12)
    networks = [Trained.parse(word) for word in words]
    check_disk(root / "catalog/materials.parquet", root, study, trained=networks)
    shown = capsys.readouterr().out
    [line] = [line.split() for line in shown.splitlines() if line.startswith("image (7 runs)")]
    assert float(line[-1]) == pytest.approx(7 * 4 * 23e6 / 1e9, rel=0.05)
    assert "not counted: the weights of 18 text runs" in shown
    assert "WARNING" not in shown
    set_free(monkeypatch, 0.4e9)
    check_disk(root / "catalog/materials.parquet", root, study, trained=networks)
    assert "the weights of all trainings do not. Before they start: fewer runs (ablation" in capsys.readouterr().out


def test_all_electron_files_are_fetched_and_stored_too(tmp_path: Path) -> None:
    aeccars = {"aeccar0_path": "s3://b/aeccar0s/x", "aeccar2_path": "s3://b/aeccar2s/x"}
    plain = needs_of(remote_study(tmp_path / "a", n=10, size=LARGE), source=MaterialsProjectSource())
    more = needs_of(remote_study(tmp_path / "b", n=10, size=LARGE, **aeccars), source=MaterialsProjectSource())
    assert more["raw"].disk == pytest.approx(1.5 * plain["raw"].disk)
    assert more["downloads"].download == pytest.approx(2 * plain["downloads"].download)


def test_states_count_where_the_study_wants_them(tmp_path: Path) -> None:
    root = remote_study(tmp_path, n=10, size=LARGE, dos="mp:mp-1")
    assert "dos" not in needs_of(root, source=MaterialsProjectSource())
    assert needs_of(root, source=MaterialsProjectSource(), dos=True)["dos"].materials == 10


Usage = namedtuple("Usage", "total used free")


def set_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free))


def test_disk_that_is_too_small_stops_with_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = remote_study(tmp_path, n=1000, size=10 * LARGE)
    source = MaterialsProjectSource(keep_downloads=True)
    set_free(monkeypatch, 1e9)
    with pytest.raises(StudyError) as raised:
        check_disk(root / "catalog/materials.parquet", root, Study(source=source))
    message = str(raised.value)
    assert f"{root}: the disk is too small" in message
    for words in ("raw: float32 needs about", "source.keep_downloads: false", "slices.png: false", "larger disk"):
        assert words in message
    sums = [line.split() for line in message.splitlines() if line.startswith(("needed", "free"))]
    needed, free = (float(words[-1]) for words in sums)
    assert free == 1.0 < needed
    assert capsys.readouterr().out.splitlines()[0].split() == ["stage", "materials", "download", "GB", "disk", "GB"]


def test_disk_that_is_large_enough_prints_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = remote_study(tmp_path, n=1000, size=LARGE)
    set_free(monkeypatch, 1e12)
    check_disk(root / "catalog/materials.parquet", root, Study(source=MaterialsProjectSource()))
    lines = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["downloads"][1:3] == ["1000", "0.100"]
    assert lines["raw"][1] == lines["grids"][1] == lines["slices"][1] == lines["text"][1] == "1000"
    assert lines["free"][-1] == "1,000.0"
    stages = [lines[stage][-1] for stage in lines if stage not in ("stage", "free", "needed, about")]
    assert float(lines["needed, about"][-1]) == pytest.approx(sum(map(float, stages)), rel=0.01)


@pytest.mark.parametrize(
    ("path", "suffix"),
    [("a/CHGCAR", ""), ("a/CHGCAR.gz", ".gz"), ("x.json.gz", ".json.gz"), ("x.json", ".json"), ("x.cube", "")],
)
def test_kind_follows_the_suffix(path: str, suffix: str) -> None:
    assert kind_of(path) == suffix


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("packed", [False, True], ids=["text", "gzip"])
def test_sample_counts_numbers_and_fields(tmp_path: Path, blocks: int, packed: bool) -> None:
    shape, line = (30, 30, 30), " 0.12345678901E+02" * 5 + "\n"
    block = " " + " ".join(map(str, shape)) + "\n" + line * (np.prod(shape) // 5)
    text = "Al\n1.0\n4 0 0\n0 4 0\n0 0 4\nAl Ni O\n1 1 2\nDirect\n" + "0 0 0\n" * 4 + "\n" + block * blocks
    path = tmp_path / ("CHGCAR.gz" if packed else "CHGCAR")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    kind = sample_kind([str(path)], [path.stat().st_size])
    assert kind is not None
    assert path.stat().st_size / kind.bytes_per_value == pytest.approx(blocks * np.prod(shape), rel=0.01)
    assert kind.fields == pytest.approx(blocks, rel=0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is no density\n",
        b"\x1f\x8bbroken",
        gzip.compress(b"x\n\n" + b" ".join([b"9" * 5000] * 3) + b"\n1\n2\n"),
    ],
    ids=["empty", "text", "broken", "digits without end"],
)
def test_sample_of_files_that_are_no_density_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "CHGCAR.gz"
    path.write_bytes(content)
    assert sample_kind([str(path), str(tmp_path / "absent")], [len(content), 7]) is None


def test_kinds_are_those_of_real_files(shared_data: Path) -> None:
    files = sorted((shared_data / "chgcar").glob("*.CHGCAR.gz"))
    kind = sample_kind([str(path) for path in files], [path.stat().st_size for path in files])
    assert kind is not None
    assert 1 / FACTOR < kind.bytes_per_value / KINDS[".gz"].bytes_per_value < FACTOR
    assert 1 <= kind.fields <= 2


def test_unreadable_report_counts_as_not_made(tmp_path: Path) -> None:
    root = remote_study(tmp_path, n=2, size=LARGE)
    ShardReport("ingest", {"mp-0": "digest"}).write(root / "raw/0000.h5")
    (root / "raw/0000.h5.summary.json").write_text(json.dumps({})[:1])
    assert needs_of(root, source=MaterialsProjectSource())["raw"].materials == 2
