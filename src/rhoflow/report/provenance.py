"""Where every number comes from: config, data, code, packages, seeds and hardware."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

import rhoflow
from rhoflow.config import Study
from rhoflow.dataset.stores import Shards, store_path
from rhoflow.materials.digests import digest_json, read_json, write_json
from rhoflow.materials.shards import digest_path
from rhoflow.report.crystals import kept_shards
from rhoflow.report.provenance_code import untracked
from rhoflow.report.runs import run_folders
from rhoflow.source_digest import package_digest
from rhoflow.training.names import PROVENANCE

PACKAGES = (
    "snakemake",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "h5py",
    "zarr",
    "pydantic",
    "pymatgen",
    "spglib",
    "robocrys",
    "matminer",
    "scikit-learn",
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "transformers",
    "safetensors",
    "matplotlib",
    "jinja2",
)
STAGES = ("grids", "slices", "text")
_PACKAGE = Path(rhoflow.__file__).parent
_HARDWARE = ("cpu", "cpu_count", "gpu")
_SOFTWARE = ("python", "packages")
# What is kept of a job's run.prov.json. Its host name stays out: it may be private, and says nothing of the numbers.
_JOB = (*_HARDWARE, *_SOFTWARE, "started", "seconds")


@dataclass(frozen=True)
class Code:
    """Which code ran.

    Attributes
    ----------
    version : str
        Version of the package.
    source : str
        Hash of the package's source files.
    git : str or None
        ``git describe --always --dirty --tags`` where rhoflow runs from a git checkout; dirty also if code was added
        that git does not know.
    """

    version: str
    source: str
    git: str | None


@dataclass(frozen=True)
class Lineage:
    """Hashes of what a table is made from; `id` is the short form that tables print.

    Attributes
    ----------
    config : str
        sha256 of the resolved configuration.
    data : str
        sha256 of the kept ids, their targets and the digests of their grids, images and texts.
    code : str
        Hash of the source (not of the commit: a change of the documentation changes no number).
    """

    config: str
    data: str
    code: str

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of the three."""
        return digest_json([self.config, self.data, self.code])[:12]


@functools.cache
def code_version() -> Code:
    """Return which rhoflow runs now."""
    return Code(rhoflow.__version__, package_digest(), _git_describe(_PACKAGE.parents[1]))


def _git_describe(project: Path) -> str | None:
    # Only a checkout of rhoflow itself: an installed package may lie inside somebody else's repository.
    if not ((project / ".git").exists() and (project / "src" / "rhoflow").is_dir()):
        return None
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--tags"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{told}-dirty" if untracked(project) and not told.endswith("-dirty") else told


def config_hash(study: Study) -> str:
    """sha256 of the resolved configuration, defaults included."""
    return digest_json(study.model_dump(mode="json"))


def data_hash(root: Path) -> str:
    """sha256 over kept ids, content digests and targets; the same for any number of shards and any order of rows."""
    shards, targets = kept_shards(root), root / "dataset" / "targets.parquet"
    kept = sorted(material_id for ids in shards.values() for material_id in ids)
    content = {stage: _digests(root, stage, shards) for stage in STAGES}
    values: dict[str, Any] = {}
    if targets.exists():
        frame = pd.read_parquet(targets).set_index("material_id")
        frame = frame[frame.index.isin(kept)]
        values = {str(material_id): [repr(float(value)) for value in row] for material_id, *row in frame.itertuples()}
        values["columns"] = list(map(str, frame.columns))
    return digest_json({"kept": kept, "content": content, "targets": values})


def _digests(root: Path, stage: str, shards: Shards) -> dict[str, str]:
    """Content digests of the kept ids, each from its own shard; what a stage has not written is left out."""
    found: dict[str, str] = {}
    for shard, ids in shards.items():
        file = digest_path(store_path(root, stage, shard))
        known: dict[str, str] = read_json(file) if file.exists() else {}
        found |= {material_id: known[material_id] for material_id in ids if material_id in known}
    return found


def lineage(root: Path, study: Study, code: Code) -> Lineage:
    """Hashes of configuration, data and code of a study's results."""
    return Lineage(config_hash(study), data_hash(root), code.source)


def job_record(folder: Path) -> dict[str, Any] | None:
    """Return what run.prov.json in `folder` says of hardware, versions and time, not of the host; None without."""
    file = folder / PROVENANCE
    if not file.exists():
        return None
    found = read_json(file)
    record = {name: found[name] for name in _JOB if name in found}
    if "started" in record and "seconds" in record:
        ended = datetime.fromisoformat(record["started"]) + timedelta(seconds=record["seconds"])
        record["ended"] = ended.isoformat(timespec="seconds")
    return record


def collect_provenance(root: Path, study: Study, code: Code) -> dict[str, Any]:
    """Gather the provenance of a study's results.

    Returns
    -------
    dict
        ``lineage`` (id and hashes), ``code``, ``config`` (resolved), ``seeds``, ``hardware`` (one entry
        a kind of machine, with its jobs and seconds), ``software`` (the same for each set of versions that runs were
        made with: ``python``, ``packages``), ``reporting`` (``python`` and ``packages`` of this process, which made
        tables, figures and report; version or None), ``started``, ``ended``, ``seconds`` (sum over jobs), ``jobs``
        (by run: hardware, versions, start, end, seconds).
    """
    trail = lineage(root, study, code)
    folders = run_folders(root, study)
    found = {folder.relative_to(root).as_posix(): job_record(folder) for folder in folders}
    jobs = {name: record for name, record in found.items() if record is not None}
    return {
        "study": study.study,
        "lineage": {"id": trail.id, **asdict(trail)},
        "code": asdict(code),
        "config": study.model_dump(mode="json"),
        "seeds": {"training": list(study.seeds), "splits": study.splits.seed},
        "hardware": _kinds(jobs.values(), _HARDWARE),
        "software": _kinds(jobs.values(), _SOFTWARE),
        "reporting": {
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
        },
        "started": min((job["started"] for job in jobs.values() if "started" in job), default=None),
        "ended": max((job["ended"] for job in jobs.values() if "ended" in job), default=None),
        "seconds": round(sum(job.get("seconds", 0.0) for job in jobs.values()), 3),
        "jobs": jobs,
    }


def _kinds(jobs: Iterable[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Distinct values of `names` among the jobs, each with how many jobs had them and for how long [s] these ran."""
    kinds: dict[str, dict[str, Any]] = {}
    for job in jobs:
        kind = {name: job.get(name) for name in names}
        entry = kinds.setdefault(digest_json(kind), {**kind, "jobs": 0, "seconds": 0.0})
        entry["jobs"] += 1
        entry["seconds"] = round(entry["seconds"] + job.get("seconds", 0.0), 3)
    return sorted(kinds.values(), key=lambda entry: (-entry["jobs"], *(str(entry[name]) for name in names)))


def write_provenance(root: Path, out: Path, *, study: Study, code: Code | None = None) -> None:
    """Write ``provenance.json`` to the file `out` (`collect_provenance`); times in it differ from run to run."""
    write_json(out, collect_provenance(root, study, code or code_version()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
