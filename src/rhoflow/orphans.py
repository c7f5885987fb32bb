"""Jobs that a killed run left at work: SIGKILL ends Snakemake, but neither its SLURM jobs nor its local ones.

The next run names them and stops, so that no two jobs compute the same files at the same time. Where there are none,
it deletes the temporary files that killed jobs left.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Container
from pathlib import Path

from rhoflow.errors import StudyError

_PATIENCE_S = 30


def stop_at_orphans(folder: Path, scripts: str, prefix: str, *, submits: bool) -> bool:
    """Raise a `StudyError` that names the jobs of an earlier run and the commands that end them, if there are any.

    SLURM and this machine are both asked, whatever this run uses: steps that ask the network run beside Snakemake
    under profiles/slurm too, and the run before may have had another profile.

    Parameters
    ----------
    folder : Path
        Where Snakemake runs.
    scripts : str
        Folder of the scripts, as jobs name it.
    prefix : str
        How the names of SLURM jobs begin (slurm-jobname-prefix).
    submits : bool
        Whether this run uses SLURM; then it must answer.

    Returns
    -------
    bool
        Whether both answered: only then there are none.
    """
    try:
        queued, answered = slurm_jobs(folder, prefix), True
    except StudyError:
        if submits:
            raise
        queued, answered = {}, False  # its tools are here, a controller is not
    here = local_jobs(folder, scripts, queued)
    if queued or here:
        names = ", ".join(f"{number} ({name})" for number, name in (queued | here).items())
        ends = [f"{end} {' '.join(jobs)}" for end, jobs in (("scancel", queued), ("kill", here)) if jobs]
        raise StudyError(
            f"{folder}: jobs of an earlier run, which was killed, are still at work here: {names}."
            f" Wait until they have ended, or end them ({'; '.join(ends)}); then run snakemake again"
        )
    return answered


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
    """Find SLURM jobs, waiting or running, of this user and folder: number and rule; none where there is no SLURM.

    Raises
    ------
    StudyError
        If SLURM gives no answer.
    """
    if shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--me", "--noheader", "--format=%i|%j|%Z|%k"]
    try:
        asked = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        why = " ".join((told.decode() if isinstance(told, bytes) else told).split())
        raise StudyError(
            f"{folder}: squeue gives no answer, so jobs that an earlier run left cannot be looked for ({why})."
            " Run snakemake again when it answers"
        ) from None
    jobs = [line.split("|", 3) for line in asked.stdout.splitlines() if line.count("|") >= 3]
    return {
        number: comment.removeprefix("rule_").replace("_wildcards_", " ")
        for number, name, where, comment in jobs
        if name.startswith(f"{prefix}_") and Path(where).resolve() == folder.resolve()
    }


def local_jobs(folder: Path, scripts: str, queued: Container[str] = ()) -> dict[str, str]:
    """Find processes of this machine that run a script of the workflow in this folder: number and name of script.

    They are looked up in /proc; a system without it has none to name. Processes of the SLURM jobs `queued` are left
    out.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")[1:]
            script = next((word for word in words if word.startswith(f"{scripts}/")), None)
            if script and (process / "cwd").resolve() == folder and _slurm_job(process) not in queued:
                found[process.name] = Path(script).stem
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def _slurm_job(process: Path) -> str:
    """Read which SLURM job a process belongs to; empty where none."""
    values = (process / "environ").read_bytes().split(b"\0")
    return next((v.partition(b"=")[2].decode() for v in values if v.startswith(b"SLURM_JOB_ID=")), "")
