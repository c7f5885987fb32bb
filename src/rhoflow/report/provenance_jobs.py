"""What the jobs of a study cost and how they ended, from their journals and Snakemake's benchmark files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

DONE, KILLED = "done", "no end noted"
# The rule that gathers is at work while it does.
_GATHERING = "provenance"


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """Jobs of a study by name, from ``provenance/jobs/``.

    Returns
    -------
    list of dict
        ``job``, ``script``, and ``attempts``, oldest first: ``started``, ``ended``, ``seconds``, ``cpu_seconds``,
        ``max_rss_mb``, ``host``, ``python``, ``version``, ``code`` (digest of the script and all of rhoflow that it
        uses), ``gpus``, ``cuda``, ``driver``, ``slurm_job`` and ``end``: ``done``, ``failed: <kind of error>``, or
        ``no end noted``, of one that was killed.
    """
    jobs = []
    for journal in sorted(folder.rglob("*.jsonl")):
        attempts = _attempts(journal)
        if attempts and attempts[-1]["script"] == _GATHERING and attempts[-1]["end"] == KILLED:
            attempts.pop()
        if attempts:
            script = attempts[-1]["script"]
            plain = [{name: value for name, value in one.items() if name != "script"} for one in attempts]
            jobs.append(
                {"job": journal.relative_to(folder).with_suffix("").as_posix(), "script": script, "attempts": plain}
            )
    return jobs


def _attempts(journal: Path) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            noted = json.loads(line)
        except ValueError:  # half a line of a job that was killed while it wrote
            continue
        attempt, event = noted.pop("attempt"), noted.pop("event")
        if event == "start":
            found[attempt] = {name: value for name, value in noted.items() if name != "job"} | {"end": KILLED}
        elif attempt in found:
            error = noted.pop("error")
            ended = datetime.fromisoformat(found[attempt]["started"]) + timedelta(seconds=noted["seconds"])
            noted["ended"] = ended.isoformat(timespec="milliseconds")
            found[attempt] |= {**noted, "end": f"failed: {error}" if error else DONE}
    return sorted(found.values(), key=lambda one: str(one["started"]))


def troubled(jobs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs with an attempt that failed or was killed: ``job``, ``ends`` of all attempts, whether it is ``done``."""
    told = []
    for job in jobs:
        ends = [attempt["end"] for attempt in job["attempts"]]
        if any(end != DONE for end in ends):
            done = ends[-1] == DONE or job["script"] == _GATHERING  # whose attempt at work is not among them
            told.append({"job": job["job"], "ends": ends, "done": done})
    return told


def costs(jobs: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sum over the attempts by script.

    Returns
    -------
    dict
        By script: ``jobs``, ``attempts``, ``failed``, ``hours`` and ``cpu_hours`` (of attempts with an end),
        ``gpu_hours`` (GPUs x time), ``max_rss_mb`` (largest of all), ``hosts``, ``gpus``, ``cuda``, ``driver``
        (distinct ones), ``code`` (digests: one, unless code changed between the jobs that are left).
    """
    summed: dict[str, dict[str, Any]] = {}
    for job in jobs:
        entry = summed.setdefault(job["script"], {"jobs": 0, "attempts": []})
        entry["jobs"] += 1
        entry["attempts"] += job["attempts"]
    return {script: {"jobs": entry["jobs"], **_cost(entry["attempts"])} for script, entry in sorted(summed.items())}


def _cost(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    def distinct(name: str) -> list[str]:
        return sorted({str(one[name]) for one in attempts if one.get(name)})

    seconds = [one.get("seconds", 0.0) for one in attempts]
    return {
        "attempts": len(attempts),
        "failed": sum(one["end"] != DONE for one in attempts),
        "hours": round(sum(seconds) / 3600, 4),
        "cpu_hours": round(sum(one.get("cpu_seconds", 0.0) for one in attempts) / 3600, 4),
        "gpu_hours": round(
            sum(s * len(one.get("gpus", ())) for s, one in zip(seconds, attempts, strict=True)) / 3600, 4
        ),
        "max_rss_mb": max((one.get("max_rss_mb", 0.0) for one in attempts), default=0.0),
        "hosts": distinct("host"),
        "gpus": sorted({gpu for one in attempts for gpu in one.get("gpus", ())}),
        "cuda": distinct("cuda"),
        "driver": distinct("driver"),
        "code": distinct("code"),
    }


def benchmarks(folder: Path) -> dict[str, dict[str, Any]]:
    """Snakemake's own measurement of the last run of each job, by rule: ``jobs``, ``seconds`` (sum), ``max_rss_mb``.

    Parameters
    ----------
    folder : Path
        ``logs/<study>/benchmark``; a job too short to be measured has no memory.
    """
    rules: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        entry = rules.setdefault(path.name.partition(".")[0], {"jobs": 0, "seconds": 0.0, "max_rss_mb": None})
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                entry["jobs"] += 1
                entry["seconds"] = round(entry["seconds"] + (_number(row["s"]) or 0.0), 3)
                rss = [value for value in (entry["max_rss_mb"], _number(row["max_rss"])) if value is not None]
                entry["max_rss_mb"] = max(rss, default=None)
    return rules


def _number(cell: str | None) -> float | None:
    """Value of a cell; None of what Snakemake could not measure."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
