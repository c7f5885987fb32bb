"""What a study will download and write, before it starts: the plan stops where the disk lacks it.

Sizes follow from those of the density files, the grid and the images. The ratios below are means over the files named
in `sources.samples` and over the demo crystals; a single material may miss them by a factor of 2, a study stays
within 1.5 (tests/sources/test_estimate.py). Trained networks count as far as the size of their backbones is known;
the embeddings of structures, tables and figures, which are small, do not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from rhoflow.config import DirectorySource, SliceOptions, Study
from rhoflow.errors import StudyError
from rhoflow.materials.shards import SUFFIXES, read_report
from rhoflow.sources.rows import REMOTE
from rhoflow.sources.samples import KINDS, kind_of, sample_kind
from rhoflow.sources.trained import Trained

GB = 1e9
DOWNLOADS = Path("downloads")  # where kept objects lie, <bucket>/<key>
WEIGHTS = "model.safetensors"  # of a run
ARCHIVED = {"native": 8.0, "float32": 4.0, "none": 4.0}  # bytes a number, not compressed
# The same of the unified grid, float32 with zstd, which finds the equal points of symmetric crystals: measured
# 1.2-2.9 on VASP files and demo crystals, 3.1 on an object of the Materials Project.
UNIFIED = {"local": 2.0, "remote": 3.1}
PIXEL = 4.0  # float32, not compressed
PNG = 11.0  # over pixels^1.5; measured 7-8 kB at 75, 9-12 kB at 96, 35-59 kB at 299; three planes 12 % more
TEXT = 5e3  # text at three levels, digests and statistics: 2-5 kB a material
DOS = 5e4  # 2001 energies and two spins, float64


@dataclass(frozen=True)
class Need:
    """What a stage still has to do.

    Attributes
    ----------
    stage : str
        Name of the stage.
    materials : int
        How many it has not done.
    download, disk : float
        What it will download and write [bytes].
    """

    stage: str
    materials: int
    download: float
    disk: float


def check_disk(
    catalog: Path, root: Path, study: Study, *, trained: Sequence[Trained] = (), downloads: int | None = None
) -> None:
    """Print what a study still needs, stage by stage; stop where the disk lacks it for the data, warn of the weights.

    Weights do not stop it: who asks for a part of a study, its data alone, may have a disk for that.

    Parameters
    ----------
    catalog : Path
        ``catalog/materials.parquet``.
    root : Path
        Result folder of the study; materials that are in its stores need nothing more.
    study : Study
        Its sections source, raw, field, grid, slices, dos and ablation.images count.
    trained : sequence of Trained
        Networks that the study will train.
    downloads : int, optional
        Downloads at a time, all jobs together; None: each core of this machine may have a job that downloads.

    Raises
    ------
    StudyError
        If less is free than the data need, with what other settings would need.
    """
    materials = read_materials(catalog)
    data = estimate(materials, root, study, downloads=downloads)
    needs = [*data, *_networks(trained, root)]
    free = float(shutil.disk_usage(_existing(root)).free)
    shown = "\n".join([_show(needs, free), *_not_counted(trained)])
    print(shown, flush=True)
    if _disk(data) > free:
        others = {
            raw: _disk(estimate(materials, root, study.model_copy(update={"raw": raw}), downloads=downloads))
            for raw in ("float32", "none")
        }
        raise StudyError(f"{root}: the disk is too small.\n{shown}\n{_remedies(study, _disk(data), others)}")
    if _disk(needs) > free:
        print(
            f"WARNING: {root}: the data fit on the disk, the weights of all trainings do not. Before they start:"
            " fewer runs (ablation, splits.folds, splits.repeats, seeds), or put results/ on a larger disk",
            flush=True,
        )


def _networks(trained: Sequence[Trained], root: Path) -> list[Need]:
    """Weights of the runs that are not there yet."""
    needs = []
    for network in trained:
        folders = (f"runs/{name}/*/*/fold*/seed*/{WEIGHTS}" for name in (network.model, f"{network.model}-*"))
        left = max(0, network.runs - sum(1 for pattern in folders for _ in root.glob(pattern)))
        if network.size and left:
            needs.append(Need(f"{network.model} ({left} runs)", 0, 0.0, left * network.size))
    return needs


def _not_counted(trained: Sequence[Trained]) -> list[str]:
    """Say which networks the sum leaves out."""
    return [
        f"not counted: the weights of {network.runs} {network.model} runs, whose backbone's size is not known here"
        for network in trained
        if not network.size
    ]


def read_materials(catalog: Path) -> pd.DataFrame:
    """Read what sizes follow from, a row a material.

    Returns
    -------
    DataFrame
        ``material_id``, ``shard``, ``path``, ``size`` (float64) [bytes], ``remote`` (bool), ``aeccars`` (int:
        all-electron files), ``has_dos`` (bool), ``points`` (grid points, float64) and ``values`` (numbers in the
        density file, float64).
    """
    table = pq.read_table(catalog).select(["material_id", "shard", "path", "size_bytes"]).to_pandas()
    materials = table.rename(columns={"size_bytes": "size"}).astype({"size": np.float64})
    optional = [name for name in pq.read_schema(catalog).names if name.startswith("aeccar") or name == "dos"]
    there = pq.read_table(catalog, columns=optional).to_pandas().notna()
    materials["remote"] = materials["path"].str.startswith(REMOTE)
    materials["aeccars"] = there.drop(columns="dos", errors="ignore").sum(axis=1).astype(int)
    materials["has_dos"] = there.get("dos", False)
    return _count_numbers(materials)


def _count_numbers(materials: pd.DataFrame) -> pd.DataFrame:
    """Add numbers and grid points of the density files, judged by kind."""
    for _, part in materials.groupby([materials["path"].map(kind_of), "remote"]):
        kind = KINDS[kind_of(part["path"].iloc[0])]
        if not part["remote"].iloc[0]:
            kind = sample_kind(part["path"].tolist(), part["size"].tolist()) or kind
        materials.loc[part.index, "values"] = part["size"] / kind.bytes_per_value
        materials.loc[part.index, "points"] = part["size"] / kind.bytes_per_value / kind.fields
    return materials


def estimate(materials: pd.DataFrame, root: Path, study: Study, *, downloads: int | None = None) -> list[Need]:
    """Estimate what each stage still downloads and writes.

    Parameters
    ----------
    materials : DataFrame
        See `read_materials`.
    downloads : int, optional
        See `check_disk`.
    """
    sizes = _sizes(materials, study)
    finished = {stage: _finished(materials, root, stage) for stage in sizes}
    replaced = _replaced(materials, root, study)
    finished["raw"] &= ~materials["shard"].isin(replaced.keys())
    dropped = finished["raw"] & ~_finished(materials, root, "raw", rejected=False)
    needs = [
        Need(
            stage,
            int(todo.sum()),
            0.0,
            max(0.0, size[todo].sum() - (sum(replaced.values()) if stage == "raw" else 0)),
        )
        for stage, size in sizes.items()
        for todo in [(size > 0) & ~finished[stage] & ~dropped]
    ]
    coming = materials["remote"] & ~finished["raw"] & ~_kept(materials, study)
    return [*_downloads(materials[coming], sizes["raw"][coming], study, downloads), *needs]


def _sizes(materials: pd.DataFrame, study: Study) -> dict[str, pd.Series]:
    """Bytes that each stage writes for each material."""
    unified = materials["remote"].map({False: UNIFIED["local"], True: UNIFIED["remote"]}).astype(float)
    grid = float(np.prod(study.grid.shape))
    # AECCAR0 + AECCAR2, or AECCAR2 - AECCAR1: one more density
    fields = materials["values"] / materials["points"] + (materials["aeccars"] >= 2)
    points = materials["points"] if study.raw != "none" else grid
    each = pd.Series(1.0, index=materials.index)
    sizes = {
        "raw": fields * points * ARCHIVED[study.raw],
        "grids": grid * unified,
        "slices": _picture(study.slices) * each,
        "text": TEXT * each,
    }
    for name in study.ablation.images:  # pictures and spectra for people are of the study's own images alone
        other = study.with_images(name).slices.model_copy(update={"png": False, "fourier": False})
        sizes[f"images/{name}"] = _picture(other) * each
    return sizes | ({"dos": DOS * materials["has_dos"]} if study.dos else {})


def _picture(slices: SliceOptions) -> float:
    """Bytes that the images of one material take: planes, spectra, and a PNG for people."""
    pixels = float(slices.pixels)
    arrays = PIXEL * pixels**2 * slices.planes * (2 if slices.fourier else 1)
    return arrays + (PNG * pixels**1.5 if slices.png else 0)


def _finished(materials: pd.DataFrame, root: Path, stage: str, *, rejected: bool = True) -> pd.Series:
    """Whether each material is in the stage's store of its shard, or (`rejected`) was left out there."""
    done: set[str] = set()
    for shard in materials["shard"].unique():
        try:
            report = read_report(root / stage / f"{shard}{SUFFIXES[stage.partition('/')[0]]}")
        except (FileNotFoundError, ValueError):
            continue  # not made yet, or cut short by a kill: it will be made
        done |= report.digests.keys() | (report.rejected.keys() if rejected else set())
    return materials["material_id"].isin(done)


def _replaced(materials: pd.DataFrame, root: Path, study: Study) -> dict[str, int]:
    """Size by shard [bytes] of the archives that another `raw` has made: they are made again and give their room."""
    paths = {shard: root / f"raw/{shard}.h5" for shard in materials["shard"].unique()}
    return {shard: path.stat().st_size for shard, path in paths.items() if path.is_file() and _is_other(path, study)}


def _is_other(archive: Path, study: Study) -> bool:
    """Whether the densities of an archive are not what the study's `raw` keeps, by those that come first."""
    try:
        with h5py.File(archive) as file:
            found = [(group["total"].dtype, group["total"].shape) for group in islice(file.values(), 8)]
    except (OSError, KeyError, AttributeError):
        return False  # damaged: who reads it says so
    native = any(dtype == np.float64 for dtype, _ in found)
    unified = all(shape == study.grid.shape for _, shape in found)  # by chance they may be so of themselves
    possible = {"native"} if native else {"none", "float32"} if unified else {"float32"}
    return bool(found) and study.raw not in possible


def _kept(materials: pd.DataFrame, study: Study) -> pd.Series:
    """Whether the object of a material lies in downloads/ already."""
    if not _keeps_downloads(study):
        return pd.Series(False, index=materials.index)
    return materials["path"].map(lambda path: (DOWNLOADS / path.removeprefix(REMOTE)).is_file())


def _keeps_downloads(study: Study) -> bool:
    return not isinstance(study.source, DirectorySource) and study.source.keep_downloads


def _downloads(coming: pd.DataFrame, raw: pd.Series, study: Study, downloads: int | None) -> list[Need]:
    """Objects to fetch, and what of them is on the disk at a time."""
    if coming.empty or isinstance(study.source, DirectorySource):
        return []
    size = coming["size"] * (1 + coming["aeccars"] * coming["points"] / coming["values"])
    total = float(size.sum())
    if study.source.keep_downloads:
        return [Need("downloads (kept)", len(coming), total, total)]
    at_once = downloads // study.source.connections if downloads else os.cpu_count() or 1
    jobs = min(max(at_once, 1), coming["shard"].nunique())
    # A job has 2 x connections objects ahead, and its shard's densities one by one until the archive is whole.
    shard = float(raw.groupby(coming["shard"]).sum().mean())
    return [
        Need("downloads", len(coming), total, 0.0),
        Need(f"in flight ({jobs} jobs)", 0, 0.0, jobs * (2 * study.source.connections * float(size.mean()) + shard)),
    ]


def _disk(needs: Sequence[Need]) -> float:
    return sum(need.disk for need in needs)


def _show(needs: Sequence[Need], free: float) -> str:
    """Table of the stages, and the sum beside what is free."""
    total = Need("needed, about", 0, sum(need.download for need in needs), _disk(needs))
    lines = [f"{'stage':<22}{'materials':>10}{'download GB':>13}{'disk GB':>11}"]
    for need in (*needs, total, Need("free", 0, 0.0, free)):
        download = _gb(need.download) if need.download else ""
        lines.append(f"{need.stage:<22}{need.materials or '':>10}{download:>13}{_gb(need.disk):>11}")
    return "\n".join(lines)


def _gb(size: float) -> str:
    return f"{size / GB:,.3f}" if size < GB else f"{size / GB:,.1f}"


def _remedies(study: Study, needed: float, others: Mapping[str, float]) -> str:
    """Say what to do about a disk that is too small, and what it would need with another `raw` [bytes]."""
    words = [f"raw: {raw} needs about {_gb(less)} GB for all data" for raw, less in others.items() if less < needed]
    if _keeps_downloads(study):
        words.append("source.keep_downloads: false")
    if study.slices.png:
        words.append("slices.png: false")
    words += ["select fewer materials", "put results/ on a larger disk (it may be a link)"]
    return "Remedies: " + "; ".join(words)


def _existing(path: Path) -> Path:
    """Nearest folder that exists already."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())
