"""What `rhoflow doctor` looks at before a study runs: installation, machine, the study's needs, the cluster."""

from __future__ import annotations

from pathlib import Path

from rhoflow.config import Study
from rhoflow.doctor.finding import Finding, Level, show
from rhoflow.doctor.install import check_install
from rhoflow.doctor.machine import check_disk, check_gpu
from rhoflow.doctor.needs import check_keys, check_weights
from rhoflow.doctor.slurm import check_slurm

__all__ = ["Finding", "Level", "examine", "show"]


def examine(study: Study, *, project: Path, profile: Path) -> list[Finding]:
    """Look at everything; what is wrong is a finding, never an exception.

    Parameters
    ----------
    study : Study
        The study to be run.
    project : Path
        The checkout of rhoflow, with envs/.
    profile : Path
        Folder of the SLURM profile.
    """
    return [
        *check_install(project),
        *check_gpu(study),
        *check_disk(study),
        *check_keys(study),
        *check_weights(study),
        *check_slurm(profile),
    ]
