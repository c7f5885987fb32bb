"""What the profile asks SLURM for: the resources of each rule and group, as numbers for an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rhoflow.errors import StudyError

SIZES = ("runtime", "mem_mb", "cpus_per_task")


def read_profile(file: Path) -> dict[str, Any]:
    """Read a profile.

    Raises
    ------
    StudyError
        If it cannot be read, or is no YAML mapping; says where.
    """
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise StudyError(f"{file}: keys and values are expected, not {type(settings).__name__}")
    return settings


def attempts(settings: dict[str, Any]) -> int:
    """How often a job may run."""
    retries = settings.get("retries", 0)
    return 1 + (retries if isinstance(retries, int) else 0)


def requests(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Resources that the profile asks for, by place: the defaults, and those of each rule laid over them."""
    defaults = _resources(settings.get("default-resources"))
    if defaults:
        yield "default-resources", defaults
    for rule, resources in _by_rule(settings.get("set-resources")).items():
        yield f"set-resources: {rule}", defaults | resources


def group_runtimes(settings: dict[str, Any], attempt: int) -> Iterator[tuple[str, str, float]]:
    """Longest run time [minutes] of each group whose jobs take turns, with its partition.

    Snakemake adds up the times of as many jobs as group-components says.
    """
    asked = dict(requests(settings))
    groups, components = (_resources(settings.get(key)) for key in ("groups", "group-components"))
    for group in dict.fromkeys(map(str, groups.values())):
        rules = [asked.get(f"set-resources: {rule}", {}) for rule, its in groups.items() if str(its) == group]
        times = [amount(rule, "runtime", attempt) or 0 for rule in rules if rule.get("turn")]
        together = components.get(group, 1)
        if times and len(times) == len(rules) and isinstance(together, int):
            yield group, str(rules[0].get("slurm_partition")), together * max(times)


def amount(resources: dict[str, Any], name: str, attempt: int) -> float | None:
    """Evaluate a resource as Snakemake does at that attempt.

    Returns
    -------
    float or None
        Minutes, MB or a number of CPUs; None where it is not asked for, or depends on a job's files.
    """
    from snakemake.resources import Resources  # type: ignore[import-untyped]

    if name not in resources:
        return None
    try:
        asked = Resources.parse([f"{name}={resources[name]}"], allow_expressions=True)[name]
        # In their order: wildcards, input, attempt, threads, name of the rule, and what runs coroutines.
        value = asked.evaluate(None, None, attempt, 1, "", None).value
    except Exception:  # whatever an expression raises that asks for a job's files
        return None
    return float(value) if isinstance(value, int | float) else None


def _by_rule(value: Any) -> dict[str, dict[str, Any]]:
    """Both spellings: a mapping by rule, or a list of ``rule:name=value``."""
    if isinstance(value, dict):
        return {str(rule): _resources(resources) for rule, resources in value.items()}
    rules: dict[str, dict[str, Any]] = {}
    for entry in value if isinstance(value, list) else []:
        rule, _, rest = str(entry).partition(":")
        rules.setdefault(rule, {}).update(_resources([rest]))
    return rules


def _resources(value: Any) -> dict[str, Any]:
    """Both spellings: a mapping, or a list of ``name=value``."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    entries = [str(entry).partition("=") for entry in (value if isinstance(value, list) else [])]
    return {name: int(text) if text.isdecimal() else text.strip("\"'") for name, _, text in entries}
