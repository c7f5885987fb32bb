"""Which materials a study keeps: rejections of all stages gathered, outliers fenced off, targets there.

The fences are those of the papers: quartile -+ `iqr_factor` interquartile ranges of the minima, and of the maxima,
of the field on the unified grid [e/A^3]. Quartiles are interpolated linearly (NumPy's default) over all materials
that passed every stage, with or without targets. A material on a fence stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rhoflow.config import Clean, Fences
from rhoflow.dataset.stores import KEPT, STORES, read_reports
from rhoflow.dataset.targets import check_targets, missing_targets, read_targets
from rhoflow.dataset.versions import Frozen
from rhoflow.errors import Reason, StudyError
from rhoflow.materials.digests import atomic, read_json, write_json
from rhoflow.materials.shards import ShardReport
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.sources.plan import plan_paths, read_plan
from rhoflow.sources.stable import parquet_bytes

FACTS = ("formula", "anonymous_formula", "prototype", "space_group_number", "n_sites", "electrons")
COLUMNS = ["material_id", "stage", "reason", "detail"]  # of rejected.csv
FENCED = {"minimum": "min", "maximum": "max"}  # name in fences.json and the config: name in the grid statistics


@dataclass(frozen=True, order=True)
class Rejection:
    """A row of rejected.csv."""

    material_id: str
    stage: str
    reason: str
    detail: str


def write_clean(
    root: Path, options: Clean, targets: Sequence[str], version: str | None = None, folder: Path | None = None
) -> None:
    """Write dataset/kept.csv, rejected.csv, fences.json and targets.parquet.

    Parameters
    ----------
    root : Path
        Result folder of the study, with catalogue, plan and the reports of all shards.
    options : Clean
        The outlier filter.
    targets : sequence of str
        Property keys; a material that lacks some is used for the others, one that lacks all is out.
    version : str or None
        Keep exactly the materials of this frozen dataset (`dataset.versions`), whatever the filter says.
    folder : Path or None
        Where the source's files lie: rejections, which are published, name them without it.

    Raises
    ------
    StudyError
        If no material is left, a target has no value, a stage lost a material, or a material of the frozen dataset
        is not what it was.
    """
    shard_of = _planned(root)
    reports = {folder: _merge(read_reports(root, folder)) for folder in STORES}
    runs = {key: run for key, stats in reports["raw"].stats.items() if (run := stats.get("run"))}
    of_runs = {key: run["properties"] for key, run in runs.items()}
    values = read_targets(root / "catalog/materials.parquet", targets, of_runs)
    rejections = [*_catalog_rejections(root), *_stage_rejections(reports.values())]
    passed = _passed(shard_of, reports)
    if version is not None:
        _write_frozen(root, Frozen.read(version), shard_of, reports, values, _without(folder, rejections))
        return
    fences = options.fences or _iqr_fences(reports["grids"], passed, options.iqr_factor)
    outliers = _outliers(reports["grids"], passed, fences)
    inside = sorted(set(passed) - {rejection.material_id for rejection in outliers})
    gaps = missing_targets(values.loc[inside], {key: run["note"] for key, run in runs.items() if run.get("note")})
    rejections += outliers + [Rejection(key, "targets", Reason.NO_PROPERTY.value, gaps[key]) for key in gaps]
    rejections = _without(folder, rejections)
    kept = values.loc[inside].dropna(how="all").index.tolist()
    if not kept:
        raise StudyError(_nothing_left(rejections))
    check_targets(values.loc[kept])
    table = _kept_table(kept, shard_of, reports["raw"])
    _write(root, table, rejections, _fences_file(options, fences, len(passed), len(outliers)), values.loc[kept])


def _write_frozen(
    root: Path,
    frozen: Frozen,
    shard_of: Mapping[str, str],
    reports: Mapping[str, ShardReport],
    values: pd.DataFrame,
    rejections: list[Rejection],
) -> None:
    """Write what the frozen dataset says; materials that came later are rejected."""
    frozen.check(reports, values)
    kept = sorted(frozen.materials)
    told = {rejection.material_id for rejection in rejections}
    detail = f"not in dataset_version {frozen.version!r}; freeze a new version to use it"
    later = sorted(set(shard_of) - set(kept) - told)
    rejections = [*rejections, *(Rejection(key, "clean", Reason.NOT_FROZEN.value, detail) for key in later)]
    check_targets(values.loc[kept])
    _write(root, _kept_table(kept, shard_of, reports["raw"]), rejections, frozen.fences, values.loc[kept])


def _write(
    root: Path, kept: pd.DataFrame, rejections: list[Rejection], fences: dict[str, Any], values: pd.DataFrame
) -> None:
    """Write the four files."""
    _write_csv(root / KEPT, kept)
    _write_csv(root / "dataset/rejected.csv", pd.DataFrame(sorted(rejections), columns=COLUMNS))
    write_json(root / "dataset/fences.json", fences)
    _write_targets(root / "dataset/targets.parquet", values)


def _without(folder: Path | None, rejections: list[Rejection]) -> list[Rejection]:
    """Rejections whose details name files below a folder without it."""
    if folder is None:
        return rejections
    return [replace(rejection, detail=rejection.detail.replace(f"{folder}/", "")) for rejection in rejections]


def iqr_fences(values: Iterable[float], factor: float) -> tuple[float, float]:
    """Lower and upper fence, quartile -+ `factor` times the interquartile range, in the unit of `values`."""
    low, high = np.quantile(np.fromiter(values, dtype=np.float64), [0.25, 0.75])
    return float(low - factor * (high - low)), float(high + factor * (high - low))


def _planned(root: Path) -> dict[str, str]:
    """Shard of each planned material."""
    return {entry["id"]: path.stem for path in plan_paths(root / "plan") for entry in read_plan(path)}


def _merge(reports: list[ShardReport]) -> ShardReport:
    """One report of all shards of a stage."""
    merged = ShardReport(reports[0].stage if reports else "")
    for report in reports:
        merged.digests.update(report.digests)
        merged.stats.update(report.stats)
        merged.rejected.update(report.rejected)
    return merged


def _catalog_rejections(root: Path) -> list[Rejection]:
    entries = read_json(root / "catalog/rejected.json")
    return [Rejection(key, "catalog", entry["reason"], entry["detail"]) for key, entry in entries.items()]


def _stage_rejections(reports: Iterable[ShardReport]) -> list[Rejection]:
    return [
        Rejection(material_id, report.stage, entry["reason"], entry["detail"])
        for report in reports
        for material_id, entry in report.rejected.items()
    ]


def _passed(planned: Iterable[str], reports: Mapping[str, ShardReport]) -> list[str]:
    """Find the ids that every stage could use, sorted; a material that a stage lost without a word is its fault."""
    ingested = reports["raw"].digests
    for folder, report in reports.items():
        expected = planned if folder == "raw" else ingested
        lost = sorted(set(expected) - set(report.digests) - set(report.rejected))
        if lost:
            raise StudyError(
                f"{folder}: {len(lost)} materials are neither in a report nor rejected ({', '.join(lost[:3])});"
                f" the reports are older than the plan or damaged: delete {folder}/ and run again"
            )
    rejected = {material_id for report in reports.values() for material_id in report.rejected}
    return sorted(set(planned) - rejected)


def _iqr_fences(grids: ShardReport, ids: list[str], factor: float | None) -> Fences | None:
    if factor is None or not ids:
        return None
    limits = {
        name: iqr_fences((grids.stats[material_id][stat] for material_id in ids), factor)
        for name, stat in FENCED.items()
    }
    return Fences(**limits)


def _outliers(grids: ShardReport, ids: list[str], fences: Fences | None) -> list[Rejection]:
    """Materials whose minimum or maximum lies beyond a fence, with the value and the fence."""
    if fences is None:
        return []
    found = []
    for material_id in ids:
        beyond = []
        for name, stat in FENCED.items():
            (low, high), value = getattr(fences, name), grids.stats[material_id][stat]
            if not low <= value <= high:
                fence = f"above the upper fence {high:.6g}" if value > high else f"below the lower fence {low:.6g}"
                beyond.append(f"{name} {value:.6g} e/A^3 is {fence} e/A^3")
        if beyond:
            detail = f"{'; '.join(beyond)}; clean.iqr_factor or clean.fences set the fences"
            found.append(Rejection(material_id, "clean", Reason.OUTLIER.value, detail))
    return found


def _nothing_left(rejections: list[Rejection]) -> str:
    counts = Counter((rejection.stage, rejection.reason) for rejection in rejections)
    lines = [f"\n  {stage}: {n} x {reason}" for (stage, reason), n in sorted(counts.items())]
    example = f"\n  e.g. {rejections[0].material_id}: {rejections[0].detail}" if rejections else ""
    return "no material is left; rejected were" + "".join(lines) + example


def _kept_table(kept: list[str], shard_of: Mapping[str, str], raw: ShardReport) -> pd.DataFrame:
    rows = [
        {"material_id": key, "shard": shard_of[key], **{fact: raw.stats[key][fact] for fact in FACTS}} for key in kept
    ]
    return pd.DataFrame(rows)


def _fences_file(options: Clean, fences: Fences | None, n: int, n_outliers: int) -> dict[str, Any]:
    """Content of fences.json; `fences` can be copied into the config as clean.fences."""
    frozen = options.fences is not None
    return {
        "fences": fences.model_dump(mode="json") if fences else None,
        "unit": "e/A^3",
        "origin": "config" if frozen else "quartiles" if fences else "no filter",
        "iqr_factor": None if frozen else options.iqr_factor,
        "n": n,
        "n_outliers": n_outliers,
    }


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as part:
        spreadsheet_safe(table).to_csv(part, index=False, lineterminator="\n")


def _write_targets(path: Path, values: pd.DataFrame) -> None:
    columns = {"material_id": pa.array(values.index.tolist(), pa.string())}
    columns |= {target: pa.array(values[target].to_numpy(), pa.float64()) for target in values.columns}
    with atomic(path) as part:
        part.write_bytes(parquet_bytes(columns))
