"""GPU, its driver and torch; and the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rhoflow.config import Study
from rhoflow.doctor.finding import Finding, note, ok, problem
from rhoflow.doctor.install import INSTALL
from rhoflow.errors import StudyError

# In a process of its own: torch takes seconds to import, and a broken driver may end it.
_ASK_TORCH = """
import json, torch
told = {"version": torch.__version__, "cuda": torch.version.cuda, "why": "", "gpus": []}
try:
    torch.cuda.init()
    told["built"] = torch.cuda.get_arch_list()
    for n in range(torch.cuda.device_count()):
        torch.ones(2, device=f"cuda:{n}").sum().item()
        told["gpus"].append([torch.cuda.get_device_name(n), torch.cuda.is_bf16_supported(including_emulation=False)])
except Exception as error:
    told["why"] = " ".join(str(error).split())
print(json.dumps(told))
"""
_TIMEOUT_S = 120
_LEAST_FREE = 2e9  # bytes; logs, tables and networks of the smallest study
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def check_gpu(study: Study) -> list[Finding]:
    """Compare the GPUs that the driver shows with those that torch can use."""
    torch = _torch()
    if "failed" in torch:
        return [problem("torch", f"cannot be imported: {torch['failed']}", INSTALL)]
    usable = [name for name, _ in torch["gpus"]]
    build = f"torch {torch['version']}" + (f" for CUDA {torch['cuda']}" if torch["cuda"] else "")
    driver = _driver()
    if not driver and not usable:
        found = [note("gpu", f"none here, {build}: trainings run on the CPU", _WHERE_TO_LOOK)]
    elif not torch["cuda"]:
        found = [problem("gpu", f"{driver[0]} is there, but {build} is a build for CPUs", f"{INSTALL} cuda")]
    elif not usable or torch["why"]:
        old = f"{driver[0] if driver else 'a GPU'}, {build}: {torch['why'] or 'it sees no GPU'}"
        found = [
            problem("gpu", old, "a newer driver (administrators), a torch built for the older CUDA, or TORCH=cpu")
        ]
    else:
        found = [ok("gpu", f"{name}, {build}") for name in usable]
    return [*found, *_precision(study, torch)]


_WHERE_TO_LOOK = "to look at a GPU node: srun --partition=<gpu partition> --gpus=1 rhoflow doctor"


def _precision(study: Study, torch: dict[str, Any]) -> list[Finding]:
    if study.training.precision != "bf16" or (torch["gpus"] and all(has for _, has in torch["gpus"])):
        return []
    level = problem if torch["gpus"] else note  # without a GPU this may be a login node
    return [level("gpu", "training.precision = 'bf16', and no GPU here has bfloat16", "training: {precision: auto}")]


def _torch() -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-c", _ASK_TORCH]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer in {_TIMEOUT_S} s"}
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        return {"failed": " ".join(ended.stderr.strip().splitlines()[-1:]) or f"exit status {ended.returncode}"}
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def _driver() -> list[str]:
    """GPUs as the driver lists them: name, version of the driver, memory."""
    try:
        ended = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return ended.stdout.strip().splitlines() if ended.returncode == 0 else []


def check_disk(study: Study) -> list[Finding]:
    """Compare what the disks of results/ and scratch/ have with what the study needs, where that is known."""
    root = Path("results") / study.study
    return [_needed(study, root), _free(Path("scratch"))]


def _needed(study: Study, root: Path) -> Finding:
    catalog = root / "catalog" / "materials.parquet"
    if not catalog.is_file():
        return _free(Path("results"), "; what the study needs: snakemake plan --profile profiles/default")
    from rhoflow.sources.estimate import estimate, read_materials

    try:
        needed = sum(need.disk for need in estimate(read_materials(catalog), root, study))
    except (StudyError, OSError, ValueError) as error:
        return note("disk", f"{catalog}: cannot be read ({error})", f"rm {catalog}; then run the study")
    free = shutil.disk_usage(root).free
    text = f"{root}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB still needed (networks not counted)"
    if needed + _LEAST_FREE > free:
        return problem("disk", text, "raw: float32 (half) or none; or make results/ a link to a larger disk")
    return ok("disk", text)


def _free(place: Path, more: str = "") -> Finding:
    existing = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    text = f"{place}/: {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE:
        return problem("disk", text, f"make {place}/ a link to a larger disk, or free space (quota: ask `quota -s`)")
    return ok("disk", text + more)
