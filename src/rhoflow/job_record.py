"""What each job of the workflow notes of itself: code, host, time, memory, and how it ended.

A journal a job, ``results/<study>/provenance/jobs/<job>.jsonl``, to which every attempt adds a line when it starts
and one when it ends. An attempt without an end was killed. Journals hold times, so no job ever has them as input:
only the rule `provenance` looks at those that are there. Neither the command line nor the environment is noted: both
may hold what is private. The host's name is noted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rhoflow import __version__
from rhoflow.errors import plain_errors
from rhoflow.source_digest import script_digest

FOLDER = "RHOFLOW_JOBS"  # environment variable: where journals are kept; set by the Snakefile, unset: none are
# Arguments that tell the jobs of a script apart, besides the store of a shard.
_IDENTITY = ("model", "target", "level", "fold", "runs")
_DRIVER = Path("/proc/driver/nvidia/version")


@contextlib.contextmanager
def job(arguments: argparse.Namespace) -> Iterator[None]:
    """Run a script's work: note it in its journal, and show a user's mistake without a traceback."""
    with plain_errors(), _noted(arguments):
        yield


def job_name(script: Path, arguments: argparse.Namespace, root: Path) -> str:
    """Name of a job: ``grids/0000`` by its store below `root`, else e.g. ``train/image.k_vrh.none``."""
    store = getattr(arguments, "store", None)
    if store is not None and Path(store).is_relative_to(root):
        folder = Path(store).parent.relative_to(root)
        return (folder / Path(store).name.partition(".")[0]).as_posix()
    words = [_word(getattr(arguments, name)) for name in _IDENTITY if getattr(arguments, name, None) is not None]
    return "/".join([script.stem, *([".".join(filter(None, words))] if any(words) else [])])


def _word(value: Any) -> str:
    """One part of a name; of the runs of a pack only a single one is part of it."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else ""
    return re.sub(r"[^\w+-]+", "-", str(value))[:80]


@contextlib.contextmanager
def _noted(arguments: argparse.Namespace) -> Iterator[None]:
    folder = os.environ.get(FOLDER)
    # Processes that a training starts for further GPUs run the same script: the first one speaks for all.
    if not folder or os.environ.get("LOCAL_RANK", "0") != "0":
        yield
        return
    script = Path(sys.argv[0])
    name = job_name(script, arguments, Path(folder).parents[1])
    journal = Path(folder) / f"{name}.jsonl"
    begin_s = time.monotonic()
    attempt = f"{platform.node()}.{os.getpid()}.{time.time_ns()}"
    _add(journal, {"event": "start", "attempt": attempt, "job": name, **_start(script)})
    error = None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__  # never its text, which may quote anything
        raise
    finally:
        _add(journal, {"event": "end", "attempt": attempt, **_end(begin_s), "error": error})


def _start(script: Path) -> dict[str, Any]:
    return {
        "script": script.stem,
        "code": script_digest(script),
        "version": __version__,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": platform.node(),
        "python": platform.python_version(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _end(begin_s: float) -> dict[str, Any]:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": round(time.monotonic() - begin_s, 3),
        "cpu_seconds": round(sum(one.ru_utime + one.ru_stime for one in usage), 3),
        "max_rss_mb": round(_peak_memory_mb(usage[0], usage[1]), 1),
        **_gpus(),
    }


def _peak_memory_mb(own: resource.struct_rusage, children: resource.struct_rusage) -> float:
    """Largest resident memory of this process, and of its largest child."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says of a process on Linux counts what its parent had when it was forked
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return max(int(found[1]), children.ru_maxrss) / 2**10
    scale = 2**20 if sys.platform == "darwin" else 2**10  # there in bytes, else in KiB
    return max(own.ru_maxrss, children.ru_maxrss) / scale


def _gpus() -> dict[str, Any]:
    """Names of the GPUs that this process used, with CUDA and driver; torch is asked only where it was at work."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {"gpus": []}
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"gpus": names, "cuda": torch.version.cuda, "driver": _driver()}


def _driver() -> str | None:
    """Version of the NVIDIA driver that this system runs."""
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", _DRIVER.read_text()) if _DRIVER.exists() else None
    return found[1] if found else None


def _add(journal: Path, line: dict[str, Any]) -> None:
    """Append a line at once; a job never fails for its journal."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        # A kill or a full disk may have left half a line, which would swallow this one.
        torn = journal.exists() and not journal.read_bytes().endswith(b"\n")
        with journal.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps(line, sort_keys=True) + "\n")
    except OSError as error:
        print(f"rhoflow: {journal}: {error.strerror}; this job is not in the provenance", file=sys.stderr)
