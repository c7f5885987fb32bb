"""Which GPUs of this machine a training takes, where several trainings run side by side (resource `gpu`)."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TextIO

from rhoflow.errors import StudyError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_HELD: list[TextIO] = []  # a GPU is taken as long as its file is locked: until the process ends, however it ends


def take_gpus(n: int) -> None:
    """Leave `n` GPUs visible to this process that no other training of this user has.

    To be called before CUDA starts. Nothing is done where there are not more than `n`, as in a SLURM job of its own.

    Raises
    ------
    StudyError
        If the others leave fewer.
    """
    if "LOCAL_RANK" in os.environ or len(there := _gpus()) <= n:
        return
    taken: list[str] = []
    for gpu in there:
        if len(taken) < n and _lock(gpu):
            taken.append(gpu)
    if len(taken) < n:
        raise StudyError(
            f"{len(there)} GPUs here, {len(there) - len(taken)} of them taken by other trainings, {n} needed;"
            f" start snakemake with --resources gpu={len(there) // n}, or give the job more GPUs"
        )
    os.environ[_VISIBLE] = ",".join(taken)


def _gpus() -> list[str]:
    if _VISIBLE in os.environ:
        return [gpu for gpu in os.environ[_VISIBLE].split(",") if gpu]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(k) for k in range(len(listed.stdout.splitlines()))]


def _lock(gpu: str) -> bool:
    # A SLURM job may number its GPUs from 0, whichever it has.
    job = os.environ.get("SLURM_JOB_ID", "none")
    path = Path(tempfile.gettempdir()) / f"rhoflow-gpu-{os.getuid()}-{job}-{gpu}.lock"
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _HELD.append(file)
    return True
