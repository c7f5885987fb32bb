"""profiles/slurm: every key is known to Snakemake or the plugin; profiles/default, always read too, leaves it be."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake_executor_plugin_slurm import ExecutorSettings

# What the plugin (2.8.0: submit_string.py, utils.py) and Snakemake read of a job's resources.
KNOWN = {
    *("slurm_partition", "slurm_account", "slurm_extra", "mem_mb", "runtime"),
    *("gpu", "gpu_model", "gres", "constraint", "qos", "cpus_per_task"),
}


@pytest.fixture(scope="module")
def profile(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "profiles/slurm/config.yaml").read_text())


@pytest.fixture(scope="module")
def rules(project: Path) -> set[str]:
    text = "".join(path.read_text() for path in project.glob("rules/*.smk"))
    return set(re.findall(r"^ *(?:rule|checkpoint) (\w+):", text, re.MULTILINE))


def test_every_key_is_an_option(profile: dict[str, Any]) -> None:
    options = {option for action in get_argument_parser()._actions for option in action.option_strings}
    options |= {f"--slurm-{field.name.replace('_', '-')}" for field in dataclasses.fields(ExecutorSettings)}
    assert {key for key in profile if f"--{key}" not in options} == set()


def test_every_rule_and_resource_is_known(profile: dict[str, Any], rules: set[str]) -> None:
    assert {*profile["set-resources"], *profile["groups"]} <= rules
    asked = {key for entry in [profile["default-resources"], *profile["set-resources"].values()] for key in entry}
    assert asked <= KNOWN


def test_every_job_gets_more_at_the_next_attempt(profile: dict[str, Any], rules: set[str]) -> None:
    """A new rule needs a line in profiles/slurm, unless it runs beside Snakemake."""
    beside = {"plan", "splits", "leakage", "views", "provenance", "query", "incontext"}
    assert profile["retries"] > 0
    assert set(profile["set-resources"]) == rules - beside - {"all"}
    for rule, entry in profile["set-resources"].items():
        assert "attempt" in str(entry["mem_mb"]), rule
        assert "attempt" in str(entry["runtime"]), rule


def test_default_profile_does_not_override_this_one(profile: dict[str, Any], project: Path) -> None:
    """Snakemake always reads profiles/default as the workflow's profile, and what stands there wins."""
    default = yaml.safe_load((project / "profiles/default/config.yaml").read_text())
    assert set(default) & set(profile) == set()
    assert {"default-resources", "set-resources", "retries", "groups", "executor", "jobs"}.isdisjoint(default)
    assert profile["set-resource-scopes"] == {"gpu": "local"}
    assert default["scheduler"] == "greedy"
