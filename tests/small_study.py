"""A small study in a folder of its own, run by the real snakemake, and which jobs really ran in it."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pymatgen.io.vasp import Chgcar

CRYSTALS = (
    "Ag_fcc",
    "Al_fcc",
    "C_diamond",
    "CaO_rocksalt",
    "Cu_fcc",
    "GaAs_zincblende",
    "KBr_rocksalt",
    "LiF_rocksalt",
    "MgO_rocksalt",
    "NaCl_rocksalt",
    "Pd_fcc",
    "Pt_fcc",
    "Si_diamond",
    "TiN_rocksalt",
)
STUDY = {
    "study": "small",
    "source": {"path": "crystals"},
    "shards": 2,
    "grid": {"shape": [16, 16, 16]},
    "clean": {"iqr_factor": None},
    "slices": {"pixels": 32},
    "levels": ["formula"],
    "splits": {"folds": 2, "test": 0.2},
    "image": {"backbone": "timm:test_efficientnet", "weights": "random"},
    "language": {"backbone": "encoder", "weights": "random"},
    "readout": {"widths": [16, 256]},
    "training": {
        "readout": {"epochs": 3, "batch_size": 4},
        "finetune": {"epochs": 1, "batch_size": 4},
        "threads": 1,
    },
    "llm": {"api_key_variable": "PLANTED_LLM_VARIABLE"},
    "report": {"bootstrap": 100, "examples": 2},
}
# Secrets in the environment of every run: no file may hold one of them. The settings name a variable that has one.
PLANTED = {
    "MP_API_KEY": "planted-mp-key-7c1f8e",
    "OPENAI_API_KEY": "sk-planted-openai-5d20ab",
    STUDY["llm"]["api_key_variable"]: "planted-llm-key-2b94d7",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret-93be71",
    "DATABASE_PASSWORD": 'planted&"pass"<word>-e8a4c6',
    "PGPASS": "planted-pgpass-0c55aa",
    "REGISTRY_AUTH": "planted-auth-41fe0d",
}
# How the trainings announce themselves, and the names of their logs.
MESSAGES = {
    r": Train (\S+) \((\w+)\) -> (\w+)": "{0}/{2}.{1}",
    r": Fit the baselines for (\w+)": "baselines/{0}",
    r": Fit the variants of the baselines for (\w+)": "baseline-variants/{0}",
}


@dataclass
class Workspace:
    """A folder with crystals, a config, and whatever snakemake makes of them."""

    folder: Path
    project: Path

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.project / "Snakefile")),
            *("--profile", str(self.project / "profiles/default"), "--cores", "2"),
            *("--directory", str(self.folder), "--configfile", "study.yaml", *arguments),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        # A stand-in of the Materials Project is asked with its own key; a real key never gets into a run.
        stand_in = "MP_API_ENDPOINT" in os.environ
        planted = {key: value for key, value in PLANTED.items() if key != "MP_API_KEY" or not stand_in}
        environment = {
            **os.environ,
            **planted,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "1",
        }
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, fails: bool = False) -> Ran:
        """Run snakemake; say which jobs really ran."""
        before = self._logs()
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert (process.returncode != 0) == fails, output
        after = self._logs()
        return Ran(sorted(job for job, when in after.items() if before.get(job) != when), output)

    def plan(self) -> Ran:
        """Run up to the views; say which jobs that took, and which ones snakemake would run next.

        What the views say decides what is trained, so from there a dry run tells it exactly.
        """
        ran = self.run("--", *(str(path.relative_to(self.folder)) for path in sorted(self.root.glob("views/*.json"))))
        told = self.run("--dry-run").output
        planned = [
            job.format(*found)
            for message, job in MESSAGES.items()
            for found in (match.groups() for match in re.finditer(message, told))
        ]
        return Ran(sorted({*ran.jobs, *planned}), ran.output + told)

    def kill_when(self, path: Path, *arguments: str) -> None:
        """Start snakemake, and SIGKILL it and all its jobs as soon as `path` is there."""
        process = self.start(*arguments)
        while not path.exists() and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()[0]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def kill_after(self, seconds: float, *arguments: str) -> bool:
        """Start snakemake, and SIGKILL it and all jobs a while after the first began; tell whether it was at work."""
        before = self._logs()
        process = self.start(*arguments)
        while self._logs() == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(seconds)
        at_work = process.poll() is None
        if at_work:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return at_work

    def _logs(self) -> dict[str, int]:
        # Every job opens its log anew, whatever it does; Snakemake removes the one of before, perhaps while we look.
        root = self.folder / "logs" / "small"
        found = {}
        for path in root.rglob("*.log"):
            with contextlib.suppress(FileNotFoundError):
                found[path.relative_to(root).with_suffix("").as_posix()] = path.stat().st_mtime_ns
        return found

    @property
    def training(self) -> dict[str, Any]:
        return dict(STUDY["training"])

    @property
    def root(self) -> Path:
        return self.folder / "results" / "small"

    def configure(self, **changes: Any) -> None:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes))

    @property
    def properties(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "crystals" / "properties.csv")

    @properties.setter
    def properties(self, table: pd.DataFrame) -> None:
        table.to_csv(self.folder / "crystals" / "properties.csv", index=False)

    def assignment(self) -> dict[str, Any]:
        return json.loads((self.root / "dataset" / "splits.json").read_text())["assignment"]

    def rejected(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "dataset" / "rejected.csv")


@dataclass
class Ran:
    """The jobs that really ran (names of their logs), and what snakemake said."""

    jobs: list[str]
    output: str

    @property
    def shards(self) -> list[str]:
        """Per-shard jobs."""
        return [job for job in self.jobs if job.split("/")[0] in {"ingest", "grids", "slices", "describe"}]

    @property
    def trainings(self) -> list[str]:
        """Trainings of networks and of their variants."""
        return [job for job in self.jobs if re.match(r"(image|text|fusion|clip)\b", job)]


def add_crystal(folder: Path, demo: Path, name: str) -> None:
    shutil.copytree(demo / name, folder / "crystals" / name, ignore=shutil.ignore_patterns("dos.json"))


def alter_density(folder: Path) -> None:
    """Move charge about in a crystal; its structure and electron count stay."""
    file = folder / "CHGCAR.xz"
    chgcar = Chgcar.from_file(file)
    rho = chgcar.data["total"]
    chgcar.data["total"] = rho + 0.05 * (np.roll(rho, 1, axis=0) - rho)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chgcar.write_file(folder / "CHGCAR")
    file.write_bytes(lzma.compress((folder / "CHGCAR").read_bytes()))
    (folder / "CHGCAR").unlink()
