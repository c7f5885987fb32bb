"""What a run will do and take, before it starts: a dry run of Snakemake, counted, beside what jobs took in the past.

Snakemake is asked twice, for the jobs that it would run and for all there are; its table of counts is what it prints
for people and programs alike. Times come from the benchmark files that every job leaves.
"""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rhoflow.config import KNOWN_NETWORKS, Study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.sources.trained import trained
from rhoflow.training.names import LLM, base_of, network_runs, series_folds

# Rules by stage, and what a job of each is called; a rule that is not named here is counted under its own name.
STAGES: dict[str, dict[str, str]] = {
    "Catalogue": {"query": "step", "catalog": "step", "plan": "step"},
    "Shards": dict.fromkeys(("ingest", "dos", "embed", "grids", "slices", "images", "describe"), "shard"),
    "Dataset": {"clean": "step", "splits": "step", "leakage": "step", "views": "step"},
    "Search": {"search": "search", "search_table": "step"},
    "Trainings": dict.fromkeys(KNOWN_NETWORKS, "pack"),
    "Baselines": {"baselines": "target", "baseline_variants": "target"},
    "Language model": {"incontext": "series"},
    "Report": dict.fromkeys(("tables", "figures", "saliency", "provenance", "report"), "step"),
}
_ON_GPU = {*KNOWN_NETWORKS, "search"}
_CHECKPOINTS = ("plan", "views")
_WHOLE = {"all"}
_ROW = re.compile(r"^(\w+) +(\d+)$")


@dataclass(frozen=True)
class Cost:
    """Mean over the jobs of a rule in the past.

    Attributes
    ----------
    n : int
        How many there were.
    wall_s, cpu_s : float
        Of one job [s].
    """

    n: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Counts:
    """Jobs by rule.

    Attributes
    ----------
    to_do, there_are : dict of str to int
        Jobs that Snakemake would run, and all that the study has.
    """

    to_do: dict[str, int]
    there_are: dict[str, int]


def preview(study: Study, arguments: Sequence[str]) -> str:
    """Say in sentences what a run would do, and estimate what it takes.

    Parameters
    ----------
    study : Study
        The study that `arguments` make Snakemake read.
    arguments : sequence of str
        For Snakemake: snakefile, profile, config file.

    Raises
    ------
    StudyError
        If Snakemake refuses the study; with its last words.
    """
    with ThreadPoolExecutor(2) as both:
        to_do, there_are = both.map(lambda more: count_jobs([*arguments, *more]), ([], ["--forceall"]))
    costs, origin = past_costs(study.study, Path("logs"))
    return "\n".join(
        [
            *sentences(Counts(to_do, there_are), study),
            *estimates(to_do, costs, origin, Path("results") / study.study, study.training.devices),
            *_disk(study),
        ]
    )


def count_jobs(arguments: Sequence[str]) -> dict[str, int]:
    """Jobs by rule of a dry run with these arguments."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--quiet", "rules"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    told = ended.stdout + ended.stderr
    if ended.returncode:
        lines = [line for line in told.splitlines() if line.strip()]
        raise StudyError("snakemake --dry-run failed:\n" + "\n".join(lines[-8:]))
    return read_table(told)


def read_table(told: str) -> dict[str, int]:
    """Jobs by rule in the first table that a dry run prints; none where nothing is to be done."""
    _, found, rest = told.partition("\nJob stats:\n")
    counts: dict[str, int] = {}
    for line in rest.splitlines() if found else []:
        if match := _ROW.match(line):
            if match[1] == "total":
                break
            counts[match[1]] = int(match[2])
    return {rule: n for rule, n in counts.items() if rule not in _WHOLE}


def sentences(counts: Counts, study: Study) -> list[str]:
    """One line a stage that the study has."""
    known = {rule for rules in STAGES.values() for rule in rules}
    others = {rule: "job" for rule in counts.there_are if rule not in known}
    lines = []
    for stage, rules in (STAGES | {"Other": others}).items():
        mine = {rule: unit for rule, unit in rules.items() if rule in counts.there_are}
        alike: dict[str, list[str]] = {}  # rules of which the same is to be said
        for rule, unit in mine.items():
            if unit != "step":
                alike.setdefault(_sentence(rule, unit, counts, study), []).append(rule)
        told = [f"{text} ({', '.join(same)})" for text, same in alike.items()]
        steps = [rule for rule, unit in mine.items() if unit == "step"]
        told += [_steps(steps, counts)] if steps else []
        lines += [f"{stage + ':' if text is told[0] else '':<16}{text}." for text in told]
    waiting = [rule for rule in _CHECKPOINTS if counts.to_do.get(rule)]
    if waiting:
        lines.append(
            f"What follows {' and '.join(waiting)} is an upper bound: what changed is known after them. Exact numbers"
            f" of shards: run `snakemake plan` first; of trainings: ask for results/{study.study}/views/"
            f"{study.targets[0]}.none.0.json first."
        )
    return lines


def _sentence(rule: str, unit: str, counts: Counts, study: Study) -> str:
    """Say ``477 shards: 475 done, 2 to build``, ``4 packs of 3 trainings: 0 done, 4 to run``."""
    n, to_do = counts.there_are[rule], counts.to_do.get(rule, 0)
    if unit != "pack":
        return f"{_count(n, unit)}: {n - to_do} done, {to_do} to build"
    runs = len(series_folds(study, rule)) * len(study.seeds) if study.training.pack == "all" else 1
    return f"{_count(n, unit)} of {_count(runs, 'training')}: {n - to_do} done, {to_do} to run"


def _steps(rules: Sequence[str], counts: Counts) -> str:
    to_do = [rule for rule in rules if counts.to_do.get(rule)]
    return f"{_count(len(rules), 'step')}: " + (f"{', '.join(to_do)} to do" if to_do else "all done")


def _count(n: int, unit: str) -> str:
    plural = {"series": "series", "search": "searches"}.get(unit, f"{unit}s")
    return f"{n} {unit if n == 1 else plural}"


def past_costs(study: str, logs: Path) -> tuple[dict[str, Cost], str]:
    """Mean cost of a job of each rule, from the study's own benchmark files, else from those of all other studies.

    Returns
    -------
    costs : dict of str to Cost
    origin : str
        Which study they are from.
    """
    own = _costs((logs / study / "benchmark").glob("*.tsv"))
    if own:
        return own, f"this study's own past jobs ({sum(cost.n for cost in own.values())} of them)"
    others = sorted({file.parts[-3] for file in logs.glob("*/benchmark/*.tsv")})
    found = _costs(logs.glob("*/benchmark/*.tsv"))
    return found, f"the past jobs of {', '.join(others)}, whose shards and data differ" if found else ""


def _costs(files: Iterable[Path]) -> dict[str, Cost]:
    rows: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(files):
        with file.open(encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text, delimiter="\t"):
                wall_s, cpu_s = _number(row.get("s")), _number(row.get("cpu_time"))
                if wall_s is not None:
                    rows.setdefault(rule_of(file.name), []).append((wall_s, wall_s if cpu_s is None else cpu_s))
    return {
        rule: Cost(len(jobs), *(math.fsum(column) / len(jobs) for column in zip(*jobs, strict=True)))
        for rule, jobs in rows.items()
    }


def rule_of(benchmark: str) -> str:
    """Rule of a benchmark file: its first word, but for series and the language model."""
    word = benchmark.split(".")[0]
    if word in {LLM, "baseline-variants"}:
        return {LLM: "incontext"}.get(word, word.replace("-", "_"))
    try:
        return base_of(word)[0]  # image-f25 -> image
    except StudyError:
        return word


def _number(text: str | None) -> float | None:
    """Return a number of a benchmark file; None where a job was too short to be looked at."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def estimates(to_do: dict[str, int], costs: dict[str, Cost], origin: str, root: Path, devices: int = 1) -> list[str]:
    """Estimate CPU hours and GPU hours of the jobs to be run, of trainings on `devices` GPUs each."""
    known = {rule: n for rule, n in to_do.items() if rule in costs}
    if not to_do:
        return ["Nothing to be done."]
    if not known:
        return ["No estimate of hours: no job of these rules has left a benchmark file in logs/ yet."]
    cpu_h = math.fsum(n * costs[rule].cpu_s for rule, n in known.items()) / 3600
    gpu_h = devices * math.fsum(n * costs[rule].wall_s for rule, n in known.items() if rule in _ON_GPU) / 3600
    lines = [f"Estimate:       {_hours(cpu_h)} CPU hours, from {origin}."]
    if gpu_h:
        where = "" if _had_gpu(root) else ", as measured without a GPU: an upper bound"
        lines.append(f"{'':<16}{_hours(gpu_h)} GPU hours, where trainings run on GPUs{where}.")
    unknown = sorted(set(to_do) - set(known))
    if unknown:
        lines.append(f"{'':<16}Not counted, because they never ran: {', '.join(unknown)}.")
    return lines


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"


def _had_gpu(root: Path) -> bool:
    """Whether any finished run of the study was trained on a GPU."""
    return any(read_json(file).get("gpu") for file in root.glob("runs/*/*/*/fold*/seed*/run.prov.json"))


def _disk(study: Study) -> list[str]:
    root = Path("results") / study.study
    catalog = root / "catalog" / "materials.parquet"
    if not catalog.is_file():
        return ["Disk:           not known before the catalogue: `snakemake plan` prints it."]
    from rhoflow.sources.estimate import estimate, read_materials

    needs = estimate(read_materials(catalog), root, study)
    disk, download = sum(need.disk for need in needs), sum(need.download for need in needs)
    networks = trained(study, network_runs(study))
    weights = sum(network.runs * network.size for network in networks)
    unknown = [network.model for network in networks if not network.size]
    left_out = f" (those of {', '.join(unknown)} not known)" if unknown else ""
    free = shutil.disk_usage(root).free
    return [
        f"Disk:           {disk / 1e9:.3g} GB more, {download / 1e9:.3g} GB to download,"
        f" {weights / 1e9:.3g} GB of trained networks in the end{left_out}; {free / 1e9:.3g} GB free."
    ]
