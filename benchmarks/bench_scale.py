"""The whole Materials Project before anything is computed: catalogue, plan and dry run of 122,689 materials.

A made-up snapshot of the Materials Project (the real file's format and size: 25 properties, a text, elastic moduli of
a tenth) goes through the real rules in a folder of its own, 480 shards, every kind of network. "First pass" is
everything up to the plan and the dry run of what follows. For "nothing changed" every file of the study must be
there: stand-ins with the sizes of real ones (sparse where they are large) are made for all outputs that Snakemake
names, and Snakemake's own ``--touch --forceall`` records them as made by the present code and settings, without its
pause of 0.1 s a job. Seconds are CPU, so that other work on the machine matters little, and memory, both summed over
Snakemake and its children, pages that they share counted each time. The fingerprint is that of a folder tree of as
many materials, taken whenever the Snakefile is read; its files were just written, so their names and dates are in the
system's memory. All of it takes some minutes, most of them for the stand-ins.
"""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from rhoflow.properties import PROPERTIES
from rhoflow.sources.materials_project.snapshot import write_lines

PROJECT = Path(__file__).resolve().parents[1]
N = 122_689
SHARDS = 480
STUDY = {
    "study": "scale",
    "source": {"kind": "materials_project", "stable": False},
    "shards": SHARDS,
    "targets": ["k_vrh", "formation_energy_per_atom", "efermi", "band_gap"],
    "splits": {"folds": 5},
    "grid": {"shape": [16, 16, 16]},  # no job looks at a grid here, but the plan asks the disk for its room
    "slices": {"pixels": 32},
}
SNAPSHOT = Path("results/scale/catalog/materials_project.jsonl.gz")
LIMITS = {"first pass": 60.0, "nothing changed": 20.0, "one material changed": 60.0, "fingerprint": 20.0}
MEMORY = 2.0  # GiB
# Snakemake's command line without the pause that its touching makes a job
TOUCH = """
import sys
from snakemake.cli import main
from snakemake.executors.touch import Executor

Executor.SLEEPING_TIME = 0
main(sys.argv[1:])
"""
FINGERPRINT = """
import sys
from rhoflow.config import DirectorySource
from rhoflow.sources.catalog import source_fingerprint

source_fingerprint(DirectorySource(path=sys.argv[1]))
"""
# Sizes of real files of 256 materials [bytes]; Snakemake compares those above 1 MB by date, the others by content.
SIZES = {".h5": 3 * 10**9, ".zarr.zip": 10**8, ".npz": 10**7, ".png.zip": 3 * 10**6, ".jsonl": 7 * 10**5}
SIZES |= {".digest.json": 2 * 10**4, ".h5.summary.json": 10**5, ".zarr.zip.summary.json": 1.7 * 10**5}


def rows() -> list[dict[str, Any]]:
    """Seconds and memory of each pass."""
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder))
        passes = {"first pass": made.first_pass(), "nothing changed": made.unchanged()}
        passes["one material changed"] = made.changed()
        seconds = {"fingerprint": fingerprint(Path(folder) / "tree")}
    seconds |= {name: used.seconds for name, used in passes.items()}
    memory = max(used.peak for used in passes.values()) / 2**30
    found = [row(f"{N:,} materials: {name} [CPU s]", seconds[name], LIMITS[name], "s") for name in LIMITS]
    return [*found, row(f"{N:,} materials: peak memory [GiB]", memory, MEMORY, "GiB")]


def row(name: str, value: float, limit: float, unit: str) -> dict[str, Any]:
    """One line of the table; the reference is the limit."""
    goal = f"< {limit:g} {unit}"
    return {
        "name": name,
        "value": value,
        "reference": limit,
        "ratio": value / limit,
        "goal": goal,
        "ok": value < limit,
    }


class Used:
    """CPU and wall seconds and peak memory [bytes] of a command with all its children, and what it said."""

    def __init__(self, command: list[str], folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        start, before = time.monotonic(), children_cpu()
        with subprocess.Popen(
            command, cwd=folder, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            self.peak = 0
            watch = threading.Thread(target=self._watch, args=(process,))
            watch.start()
            self.output = process.communicate()[0].decode()
            watch.join()
        self.seconds, self.wall = children_cpu() - before, time.monotonic() - start
        if process.returncode:
            raise AssertionError(f"{' '.join(command)}\n{self.output[-4000:]}")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            memory = 0
            try:
                parent = psutil.Process(process.pid)
                for one in (parent, *parent.children(recursive=True)):
                    memory += one.memory_info().rss
            except psutil.NoSuchProcess:
                pass  # ended while it was looked at
            self.peak = max(self.peak, memory)
            time.sleep(0.1)

    def __add__(self, other: Used) -> Used:
        self.seconds += other.seconds
        self.wall += other.wall
        self.peak = max(self.peak, other.peak)
        self.output += other.output
        return self


def children_cpu() -> float:
    """CPU seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    """A study of the whole Materials Project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
        self.write_snapshot()

    def write_snapshot(self, **changes: Any) -> None:
        """Write the made-up snapshot; `changes` are of one material."""
        header = {"database_version": "made up", "selection": {}, "lattice": "any", "n": N}
        header |= {"n_rejected": 0, "left_out": {}}
        write_lines(self.folder / SNAPSHOT, header, materials(changes))

    def snakemake(self, *arguments: str, program: tuple[str, ...] = ("-m", "snakemake")) -> Used:
        """Run snakemake on the study."""
        profile = str(PROJECT / "profiles/default")
        command = [sys.executable, *program, *arguments, "--snakefile", str(PROJECT / "Snakefile"), "--cores", "2"]
        command += ["--profile", profile, "--directory", str(self.folder)]
        return Used([*command, "--configfile", str(self.folder / "study.yaml")], self.folder)

    def first_pass(self) -> Used:
        """Catalogue, plan, and the dry run of all that follows."""
        used = self.snakemake("plan") + self.snakemake("-n")
        expect(used, ingest=SHARDS, grids=SHARDS, slices=SHARDS, describe=SHARDS)
        return used

    def unchanged(self) -> Used:
        """Dry run of the finished study."""
        summary = self.snakemake("--summary", "-n").output
        self.stand_in(summary)
        self.snakemake("--touch", "--forceall", "--quiet", "all", program=("-c", TOUCH))
        used = self.snakemake("-n")
        if "Nothing to be done" not in used.output:
            raise AssertionError(f"something is to be done:\n{used.output[-4000:]}")
        return used

    def stand_in(self, summary: str) -> None:
        """Make every output that is not there, of the size of a real one."""
        for line in summary.splitlines():
            name = line.split("\t")[0]
            path = self.folder / name
            if name.startswith("results/") and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
                size = next((size for suffix, size in SIZES.items() if name.endswith(suffix)), 0)
                os.truncate(path, max(int(size), len(name)))

    def changed(self) -> Used:
        """Catalogue, plan and dry run after one material of the snapshot has got another density."""
        self.write_snapshot(etag="changed")
        used = self.snakemake("plan") + self.snakemake("-n")
        expect(used, ingest=1, grids=1, slices=1, describe=1)
        return used


def expect(used: Used, **jobs: int) -> None:
    """Check the number of jobs a rule in the last table that snakemake printed."""
    table = used.output[used.output.rindex("Job stats:") :]
    found = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    if {name: found.get(name, 0) for name in jobs} != jobs:
        raise AssertionError(f"expected {jobs}, snakemake says\n{table}")


def materials(changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Made-up materials in the order of their ids; `changes` are of the middle one."""
    values = random.Random(0)
    text = "MgO is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group. " * 15
    tensor = [[float(100 * (row == column) + 50) for column in range(6)] for row in range(6)]
    for number, material_id in enumerate(sorted(f"mp-{number}" for number in range(N))):
        task = f"mp-{10**6 + number}"
        elastic = number % 10 == 0
        keys = [key for key in PROPERTIES if elastic or not key.startswith(("k_", "g_", "universal", "homog"))]
        made = {
            "id": material_id,
            "properties": {key: values.uniform(-5, 100) for key in keys},
            "elastic_tensor": tensor if elastic else None,
            "text": f"{material_id}: {text}",
            "task_id": task,
            "functional": "GGA",
            "density": f"s3://materialsproject-parsed/chgcars/{task}.json.gz",
            "bytes": 30_000,  # so small that the study fits on any disk, and the plan does not stop it
            "etag": f"{number:032x}",
            "aeccar": None,
            "aeccar_bytes": None,
            "dos_task": None,
        }
        yield made | changes if number == N // 2 else made


def fingerprint(tree: Path) -> float:
    """Seconds of a fresh process that takes the fingerprint of a tree of `N` folders."""
    for number in range(N):
        folder = tree / f"m{number:06d}"
        folder.mkdir(parents=True)
        (folder / "CHGCAR").write_bytes(b"rho")
    (tree / "properties.csv").write_text("material_id\n")
    return Used([sys.executable, "-c", FINGERPRINT, str(tree)], tree.parent).seconds


if __name__ == "__main__":
    for found in rows():
        print(f"{found['name']:<60} {found['value']:8.2f}  {found['goal']}  {'ok' if found['ok'] else 'MISSED'}")
