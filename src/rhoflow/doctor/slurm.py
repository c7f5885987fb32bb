"""The cluster beside the profile: accounting, memory of finished jobs, partitions, GPUs, the account."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhoflow.config import near
from rhoflow.doctor.finding import Finding, note, ok, problem
from rhoflow.doctor.profile import SIZES, amount, attempts, group_runtimes, read_profile, requests
from rhoflow.errors import StudyError

PROFILE = "config.yaml"
_TIMEOUT_S = 30
_LEAST_MIN_JOB_AGE_S = 200  # as profiles/slurm says: a job that SLURM forgets between two questions counts as lost
_STATUS = "slurm-status-command"
_PLACEHOLDER = "CHANGE_ME"
_SINFO = "--format=%R|%a|%l|%G|%c|%m"
_UNITS = {"runtime": " min", "mem_mb": " MB", "cpus_per_task": " CPUs"}


@dataclass(frozen=True)
class Partition:
    """What sinfo says of a partition.

    Attributes
    ----------
    name : str
    up : bool
    limit_min : float
        Longest run time [minutes]; infinite without a limit.
    gpus : set of str
        Types of its GPUs, ``gpu`` where they have none.
    nodes : tuple of (float, float, bool)
        CPUs and memory [MB] of each kind of its nodes, and whether they have a GPU.
    """

    name: str
    up: bool
    limit_min: float
    gpus: frozenset[str]
    nodes: tuple[tuple[float, float, bool], ...]


def check_slurm(profile: Path) -> list[Finding]:
    """Compare the cluster with the profile that jobs are submitted with.

    Parameters
    ----------
    profile : Path
        Folder that holds its config.yaml.
    """
    if not shutil.which("scontrol") or not shutil.which("sinfo"):
        return [note("slurm", "not on this machine", "here: --profile profiles/default")]
    try:
        config = dict(_pairs(_ask("scontrol", "show", "config")))
        partitions = dict(_partitions(_ask("sinfo", "--noheader", "--exact", _SINFO)))
    except RuntimeError as error:
        return [problem("slurm", str(error), "ask the administrators; on one machine: --profile profiles/default")]
    file = profile / PROFILE
    if not file.is_file():
        return [problem("slurm", f"no profile {file}", "rhoflow doctor --profile <folder with a config.yaml>")]
    try:
        settings = read_profile(file)
    except StudyError as error:
        return [problem("slurm", f"the profile cannot be read: {error}", f"{file}: write valid YAML there")]
    asked = dict(requests(settings))
    return [
        _accounting(config, settings, file),
        *_partition_findings(asked, partitions, file, attempts(settings)),
        *_group_findings(settings, partitions, file),
        *_account(asked, _accounting_on(config), file),
    ]


def _accounting_on(config: dict[str, str]) -> bool:
    return config.get("AccountingStorageType", "").endswith("slurmdbd")


def _accounting(config: dict[str, str], settings: dict[str, Any], file: Path) -> Finding:
    command, age_s = settings.get(_STATUS), _seconds(config.get("MinJobAge", ""))
    if not _accounting_on(config) and command != "squeue":
        return problem("slurm", "no accounting here, so sacct answers nothing", f"{file}: {_STATUS}: squeue")
    told = f"MinJobAge is {age_s} s, accounting is {'on' if _accounting_on(config) else 'off'}"
    if command != "squeue":
        return ok("slurm", f"{told}; jobs are asked for with sacct")
    if age_s >= _LEAST_MIN_JOB_AGE_S:
        return ok("slurm", f"{told}; jobs are asked for with squeue")
    text = f"{told}: squeue forgets finished jobs before they are asked for, {_LEAST_MIN_JOB_AGE_S} s are needed"
    remedy = f"{file}: {_STATUS}: sacct" if _accounting_on(config) else "slurm.conf: MinJobAge=300 (administrators)"
    return problem("slurm", text, remedy)


def _partition_findings(
    asked: dict[str, dict[str, Any]], partitions: dict[str, Partition], file: Path, last: int
) -> Iterator[Finding]:
    """One finding for each rule whose partition cannot take it, and one for each partition."""
    if not any("slurm_partition" in resources for resources in asked.values()):
        yield note("slurm", "the profile names no partition: the cluster's default", f"{file}: slurm_partition")
    for where, resources in asked.items():
        name = resources.get("slurm_partition")
        if name is None:
            continue
        partition = partitions.get(str(name))
        line = f"{file}: {where}: slurm_partition"
        if partition is None:
            text = f"{where}: no partition {name!r}{near(str(name), partitions)}"
            yield problem("slurm", text, f"{line}: one of {', '.join(partitions)}")
        elif not partition.up:
            yield problem("slurm", f"{where}: partition {name} is down", f"{line}, or ask the administrators")
        else:
            yield from _fit(where, resources, partition, line)
            yield from _sizes(where, resources, partition, f"{file}: {where}", last)
    for partition in partitions.values():
        gpus = f", GPUs: {', '.join(sorted(partition.gpus))}" if partition.gpus else ", no GPU"
        limit = "no time limit" if partition.limit_min == float("inf") else f"at most {partition.limit_min:.0f} min"
        yield ok("slurm", f"partition {partition.name}: {limit}{gpus}")


def _fit(where: str, resources: dict[str, Any], partition: Partition, line: str) -> Iterator[Finding]:
    """Say what of a rule's resources its partition does not have."""
    wanted = resources.get("gpu_model")
    if (resources.get("gpu") or wanted) and not partition.gpus:
        yield problem("slurm", f"{where}: asks for a GPU, partition {partition.name} has none", line)
    elif wanted and str(wanted) not in partition.gpus:
        yield problem(
            "slurm",
            f"{where}: no GPU {wanted!r} in partition {partition.name}{near(str(wanted), partition.gpus)}",
            f"{line.removesuffix('slurm_partition')}gpu_model: one of {', '.join(sorted(partition.gpus))}",
        )


def _sizes(where: str, resources: dict[str, Any], partition: Partition, line: str, last: int) -> Iterator[Finding]:
    """Compare time, memory and CPUs with what the partition has, at the first attempt and at the last."""
    on_gpu = bool(resources.get("gpu") or resources.get("gpu_model"))
    nodes = [node for node in partition.nodes if node[2] or not on_gpu] or [(float("inf"), float("inf"), True)]
    most = dict(zip(SIZES, (partition.limit_min, max(n[1] for n in nodes), max(n[0] for n in nodes)), strict=True))
    for name in SIZES:
        for attempt in dict.fromkeys((1, last)):
            value = amount(resources, name, attempt)
            if value is None or value <= most[name]:
                continue
            when = f" at attempt {attempt}" if attempt > 1 else ""
            text = (
                f"{where}: {name} {value:.0f}{_UNITS[name]}{when}, partition {partition.name} allows {most[name]:.0f}"
            )
            allowed = f"{most[name]:.0f}" if attempt == 1 else f"min({resources[name]}, {most[name]:.0f})"
            # What only a retry asks for fails none of the jobs that succeed at first.
            yield (problem if attempt == 1 else note)("slurm", text, f"{line}: {name}: {allowed}")
            break


def _group_findings(settings: dict[str, Any], partitions: dict[str, Partition], file: Path) -> Iterator[Finding]:
    """One finding for each group that takes longer than its partition allows."""
    told: set[str] = set()
    for attempt in (1, attempts(settings)):
        for group, name, runtime in group_runtimes(settings, attempt):
            if group in told or name not in partitions or runtime <= partitions[name].limit_min:
                continue
            told.add(group)
            limit = f"partition {name} allows {partitions[name].limit_min:.0f}"
            text = f"groups: {group}: {runtime:.0f} min at attempt {attempt}, {limit}"
            yield (problem if attempt == 1 else note)("slurm", text, f"{file}: group-components: {group}: fewer")


def _account(asked: dict[str, dict[str, Any]], accounting: bool, file: Path) -> Iterator[Finding]:
    accounts = {str(found["slurm_account"]) for found in asked.values() if "slurm_account" in found}
    line = f"{file}: default-resources: slurm_account"
    if _PLACEHOLDER in accounts:
        yield problem(
            "slurm", f"the account is still {_PLACEHOLDER}", f"{line} (without accounting: delete the line)"
        )
    elif accounts and not accounting:
        yield problem("slurm", "the profile names an account, and there is no accounting here", f"{line}: delete it")
    if not accounting or not shutil.which("sacctmgr"):
        return
    try:
        mine = set(_ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=account").split())
    except RuntimeError:
        return  # not every site lets users ask
    for account in sorted(accounts - mine - {_PLACEHOLDER}) if mine else []:
        yield problem(
            "slurm", f"no account {account!r}{near(account, mine)}", f"{line}: one of {', '.join(sorted(mine))}"
        )


def _ask(*command: str) -> str:
    """Output of a command of SLURM.

    Raises
    ------
    RuntimeError
        If it fails or does not answer.
    """
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        raise RuntimeError(f"{command[0]} gave no answer in {_TIMEOUT_S} s") from None
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed: {' '.join(ended.stderr.split())[:200]}")
    return ended.stdout


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Keys and values of `scontrol show config`."""
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _seconds(value: str) -> int:
    """Read ``300 sec``."""
    match = re.match(r"\d+", value)
    return int(match[0]) if match else 0


def _partitions(text: str) -> Iterator[tuple[str, Partition]]:
    """Partitions of ``sinfo --exact``, which has a line for each kind of node."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 5]
    for name in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == name]
        yield (
            name,
            Partition(
                name,
                mine[0][1] == "up",
                _minutes(mine[0][2]),
                frozenset(gpu for row in mine for gpu in _gpus(row[3])),
                tuple((_number(row[4]), _number(row[5]), any(_gpus(row[3]))) for row in mine),
            ),
        )


def _number(text: str) -> float:
    """Read CPUs or MB; a `+` says that some nodes have more."""
    return float(text) if text.strip().isdecimal() else float("inf")


def _gpus(generic: str) -> Iterator[str]:
    """Types of GPU in ``gpu:h100:4(S:0-1),shard:8``; plain ``gpu`` where there is no type."""
    for entry in re.sub(r"\([^)]*\)", "", generic).split(","):
        kind, *rest = entry.split(":")
        if kind == "gpu":
            yield rest[0] if rest and not rest[0].isdecimal() else kind


def _minutes(limit: str) -> float:
    """Read ``[days-]hours:minutes:seconds``, ``minutes:seconds`` or ``infinite``."""
    days, _, clock = limit.rpartition("-")
    try:
        parts = [float(part) for part in clock.split(":")]
        whole_days = float(days or 0)
    except ValueError:
        return float("inf")
    hours, minutes, seconds = [0.0] * (3 - len(parts)) + parts
    return whole_days * 1440 + hours * 60 + minutes + seconds / 60
