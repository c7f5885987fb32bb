"""A very small study that is run under disturbance, on this machine or on the sandbox SLURM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_study import STUDY, Workspace

from rhoflow.orphans import local_jobs, slurm_jobs

HERE = Path(__file__).parent
# One network, one target: every stage of the workflow, and seconds to train.
SMALLER = {"models": ["image"], "targets": ["k_vrh"], "shards": 1}
RUN = "results/small/runs/image/k_vrh/none/fold0/seed0/metrics.json"
# What a stage writes, below results/small, in the order of the stages.
WRITES = {
    "catalog": ["catalog"],
    "plan": ["plan"],
    "ingest": ["raw"],
    "grids": ["grids"],
    "slices": ["slices"],
    "describe": ["text"],
    "clean": ["dataset"],
    "splits": ["dataset/splits.json"],
    "leakage": ["dataset/leakage.json"],
    "views": ["views"],
    "train": ["runs", "../../scratch"],
}
SIDE_BY_SIDE = ("grids", "slices", "describe")
PATIENCE_S = 900.0


@dataclass
class Disturbed(Workspace):
    """A workspace with a saboteur on its PATH, on one of two executors."""

    executor: str = "local"
    whole: Path = Path()
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chaos.mkdir(exist_ok=True)

    @property
    def chaos(self) -> Path:
        return self.folder / "chaos"

    def command(self, *arguments: str) -> list[str]:
        if self.executor == "local":
            return super().command(*arguments)
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.project / "Snakefile")),
            *("--profile", str(self.project / "profiles/slurm"), "--latency-wait", "5"),
            *("--slurm-init-seconds-before-status-checks", "2"),
            *("--directory", str(self.folder), "--configfile", "study.yaml", *arguments),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        real = Path(sys.executable).parent
        environment = os.environ | {
            "PATH": os.pathsep.join(map(str, (HERE / "shim", real, os.environ["PATH"]))),
            "CHAOS": str(self.chaos),
            "CHAOS_PYTHON": sys.executable,
        }
        with (self.chaos / "snakemake.log").open("w") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                # What runs in the background of a shell is deaf to control-C, and so are its children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self.started.append(process)
        return process

    def end_all(self) -> None:
        """End what is still at work here after a case that went wrong, so that the next one has the machine."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        queued = slurm_jobs(self.folder, "rhoflow") if self.executor == "slurm" else {}
        if queued:
            subprocess.run(["scancel", *queued], check=True)
        for number in local_jobs(
            self.folder, os.path.relpath(self.project / "workflow/scripts", self.folder), queued
        ):
            os.kill(int(number), signal.SIGKILL)

    def ends(self, *arguments: str) -> tuple[int, str]:
        """Run snakemake to its end; its exit status and what it said."""
        process = self.start(*arguments)
        return self.wait(process)

    def succeeds(self, *arguments: str) -> str:
        """Run snakemake to its end, which must be a good one; what it said."""
        status, said = self.ends(*arguments)
        assert status == 0, said
        return said

    def wait(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        status = process.wait(PATIENCE_S)
        return status, self.said()

    def said(self) -> str:
        return (self.chaos / "snakemake.log").read_text()

    def smaller(self) -> None:
        self.configure(**SMALLER)

    def undo(self, stage: str) -> None:
        """Forget what a stage and all that depend on it have made."""
        names = list(WRITES)
        for name in names[names.index(stage) :]:
            if name in SIDE_BY_SIDE and stage in SIDE_BY_SIDE and name != stage:
                continue
            for below in WRITES[name]:
                path = self.root / below
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def order(self, script: str, deed: str) -> None:
        """Ask the saboteur for a deed when `script` first writes below a folder: `deed:results/small/raw`."""
        (self.chaos / f"order.{script}").write_text(deed)

    def struck(self) -> dict[str, Any]:
        """What the saboteur did."""
        path = self.chaos / "struck.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def stalled(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait until the ordered job stands still in the middle of writing."""
        until(lambda: (self.chaos / "stalled").exists() or process.poll() is not None, "the job to stand still")
        assert process.poll() is None, self.said()
        return self.struck()

    def results(self) -> dict[str, bytes]:
        """Bytes of all metrics and predictions."""
        names = ("metrics.json", "predictions.parquet")
        files = [path for name in names for path in self.root.glob(f"runs/*/*/*/*/*/{name}")]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def parts(self) -> list[Path]:
        """Temporary files below the results."""
        return sorted(self.root.rglob(".*.part"))


def until(there: Any, what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    begin = time.monotonic()
    while not there():
        assert time.monotonic() - begin < patience_s, f"waited {patience_s:g} s for {what}"
        time.sleep(0.1)


def study_of(folder: Path, project: Path, demo: Path, crystals: tuple[str, ...]) -> Disturbed:
    """Put the crystals and the config of the very small study into a folder."""
    import pandas as pd
    from small_study import add_crystal

    workspace = Disturbed(folder, project)
    for name in crystals:
        add_crystal(folder, demo, name)
    table = pd.read_csv(demo / "properties.csv")
    workspace.properties = table[table.material_id.isin(crystals)]
    assert STUDY["study"] == "small"
    workspace.smaller()
    return workspace
