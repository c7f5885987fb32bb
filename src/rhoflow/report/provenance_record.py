"""Everything that is known of how a study's results came about, as one record: lineage.json."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.stores import store_path
from rhoflow.materials.digests import digest_file, read_json
from rhoflow.materials.shards import read_report, summary_path
from rhoflow.report.crystals import kept_shards, read_crystals
from rhoflow.report.lineage import fingerprints, trail
from rhoflow.report.provenance import Code, collect_provenance
from rhoflow.report.provenance_code import describe_code
from rhoflow.report.provenance_inputs import inputs_table, rejections
from rhoflow.report.provenance_jobs import benchmarks, costs, read_jobs, troubled
from rhoflow.report.provenance_privacy import public_settings


@dataclass(frozen=True)
class Places:
    """Where a study keeps what it is made of.

    Attributes
    ----------
    root, logs, scratch : Path
        ``results/<study>``, ``logs/<study>``, ``scratch/<study>``.
    project : Path
        Folder of the workflow: Snakefile, rules, scripts, envs.
    """

    root: Path
    logs: Path
    scratch: Path
    project: Path


def make_record(places: Places, study: Study, code: Code) -> tuple[dict[str, Any], pd.DataFrame]:
    """Gather what is known of a study.

    Returns
    -------
    record : dict
        docs/provenance.md lists its keys.
    inputs : DataFrame
        `provenance_inputs.inputs_table`.
    """
    root = places.root
    runs = collect_provenance(root, study, code)
    jobs = read_jobs(root / "provenance/jobs")
    inputs = inputs_table(root, study.source, places.scratch / "content-keys.json")
    edges = trail(root, study)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    started = min((attempt["started"] for job in jobs for attempt in job["attempts"]), default=now)
    record = {
        "study": study.study,
        "run_id": f"{study.study}-{started[:19].replace(':', '').replace('-', '')}-{runs['lineage']['id']}",
        "written": now,
        "lineage": runs["lineage"],
        "code": {**asdict(code), **describe_code(places.project)},
        "config": public_settings(runs["config"]),
        "seeds": runs["seeds"],
        "dataset": _dataset(root, study, inputs),
        "splits": _splits(root, study),
        "rejected": dict(sorted(Counter(map(", ".join, rejections(root).values())).items())),
        "hardware": runs["hardware"],
        "software": runs["software"],
        "reporting": runs["reporting"],
        "costs": costs(jobs),
        "benchmarks": benchmarks(places.logs / "benchmark"),
        "troubled": troubled(jobs),
        "jobs": jobs,
        "from": edges,
        "files": fingerprints(root, edges),
    }
    return record, inputs


def _dataset(root: Path, study: Study, inputs: pd.DataFrame) -> dict[str, Any]:
    """Which materials, from where, in which version."""
    kept = inputs[inputs["status"] == "kept"]
    frozen = Path("datasets") / f"{study.dataset_version}.json"
    return {
        "version": study.dataset_version,
        "version_sha256": digest_file(frozen) if study.dataset_version and frozen.exists() else None,
        "source": study.source.kind,
        "database_versions": sorted({str(one) for one in inputs["database_version"].dropna() if one}),
        "functionals": {str(key): int(n) for key, n in sorted(Counter(kept["functional"].dropna()).items()) if key},
        "texts": _texts(root),
        "n": {"listed": len(inputs), "kept": len(kept), "rejected": len(inputs) - len(kept)},
        "bytes": int(kept["bytes"].fillna(0).sum()),
    }


def _texts(root: Path) -> dict[str, int]:
    """Who wrote the texts of the kept materials (`text.describe.Description.origin`), and how many."""
    origins: Counter[str] = Counter()
    for shard, ids in kept_shards(root).items():
        store = store_path(root, "text", shard)
        stats = read_report(store).stats if summary_path(store).exists() else {}
        origins.update(stats[material_id]["origin"] for material_id in ids if material_id in stats)
    return dict(sorted(origins.items()))


def _splits(root: Path, study: Study) -> dict[str, Any]:
    file = root / "dataset/splits.json"
    parts = Counter(read_crystals(root)["part"])
    return {
        "strategy": study.splits.strategy,
        "seed": study.splits.seed,
        "folds": study.splits.folds,
        "parts": {str(part): n for part, n in sorted(parts.items())},
        "sha256": digest_file(file) if file.exists() else None,
        "leakage": read_json(root / "dataset/leakage.json") if (root / "dataset/leakage.json").exists() else None,
    }
