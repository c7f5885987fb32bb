"""Jobs that a killed run left at work: SIGKILL ends Snakemake, but neither its SLURM jobs nor its local ones.

The next run names them and stops, so that no two jobs compute the same files at the same time. Where there are none,
it deletes the temporary files that killed jobs left.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from rhoflow.errors import StudyError


def stop_at_orphans(folder: Path, scripts: str, prefix: str | None) -> None:
    """Raise a `StudyError` that names the jobs of an earlier run and the command that ends them, if there are any.

    Parameters
    ----------
    folder : Path
        Where Snakemake runs.
    scripts : str
        Folder of the scripts, as jobs name it.
    prefix : str or None
        How the names of SLURM jobs begin (slurm-jobname-prefix); None where jobs run on this machine.
    """
    found = local_jobs(folder, scripts) if prefix is None else slurm_jobs(folder, prefix)
    if found:
        names = ", ".join(f"{number} ({name})" for number, name in found.items())
        end = f"{'kill' if prefix is None else 'scancel'} {' '.join(found)}"
        raise StudyError(
            f"{folder}: jobs of an earlier run, which was killed, are still at work here: {names}."
            f" Wait until they have ended, or end them ({end}); then run snakemake again"
        )


def remove_leftovers(root: Path) -> None:
    """Delete the temporary files that killed jobs left beside the stores of a study; no job may be at work.

    Parameters
    ----------
    root : Path
        Result folder of the study. Its folders and those in them are looked into: there the stores are.
    """
    for pattern in ("*/.*.part", "*/*/.*.part"):
        for part in root.glob(pattern):
            part.unlink(missing_ok=True)


def slurm_jobs(folder: Path, prefix: str) -> dict[str, str]:
    """Find SLURM jobs, waiting or running, of this user and folder: number and rule."""
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--me", "--noheader", "--format=%i|%j|%Z|%k"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    jobs = [line.split("|", 3) for line in lines]
    return {
        number: comment.removeprefix("rule_").replace("_wildcards_", " ")
        for number, name, where, comment in jobs
        if name.startswith(f"{prefix}_") and Path(where) == folder
    }


def local_jobs(folder: Path, scripts: str) -> dict[str, str]:
    """Find processes of this machine that run a script of the workflow in this folder: number and name of script.

    They are looked up in /proc; a system without it has none to name.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")[1:]
            script = next((word for word in words if word.startswith(f"{scripts}/")), None)
            if script and (process / "cwd").resolve() == folder:
                found[process.name] = Path(script).stem
        except OSError:  # it has ended, or is somebody else's
            continue
    return found
