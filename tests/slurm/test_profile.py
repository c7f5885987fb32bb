"""profiles/slurm: every key is known to Snakemake or the plugin; profiles/default, always read too, leaves it be."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake.resources import GroupResources
from snakemake_executor_plugin_slurm import ExecutorSettings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from rhoflow.config import KNOWN_NETWORKS

# What the plugin (2.8.0: submit_string.py, utils.py) and Snakemake read of a job's resources.
KNOWN = {
    *("slurm_partition", "slurm_account", "slurm_extra", "mem_mb", "runtime"),
    *("gpu", "gpu_model", "gres", "constraint", "qos", "cpus_per_task", "turn"),
}
NODE_MB, DAY_MIN = 64_000, 1440


@pytest.fixture(scope="module")
def profile(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "profiles/slurm/config.yaml").read_text())


@pytest.fixture(scope="module")
def rules(project: Path) -> set[str]:
    text = "".join(path.read_text() for path in project.glob("rules/*.smk"))
    named = set(re.findall(r"^ *(?:(?:rule|checkpoint)|use rule \w+ as) (\w+)(?: with)?:", text, re.MULTILINE))
    return named | set(KNOWN_NETWORKS)


def test_every_key_is_an_option(profile: dict[str, Any]) -> None:
    options = {option for action in get_argument_parser()._actions for option in action.option_strings}
    options |= {f"--slurm-{field.name.replace('_', '-')}" for field in dataclasses.fields(ExecutorSettings)}
    assert {key for key in profile if f"--{key}" not in options} == set()


def test_every_rule_and_resource_is_known(profile: dict[str, Any], rules: set[str]) -> None:
    assert {*profile["set-resources"], *profile["groups"]} <= rules
    asked = {key for entry in [profile["default-resources"], *profile["set-resources"].values()] for key in entry}
    assert asked <= KNOWN


def test_every_job_gets_more_at_the_next_attempt(profile: dict[str, Any], rules: set[str]) -> None:
    """A new rule needs a line in profiles/slurm, unless it runs beside Snakemake; `use rule` makes one of its own."""
    assert "baseline_variants" in rules
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
    # The GPUs of that machine, and turns, are counted within a job: else one job of the whole cluster could run.
    assert profile["set-resource-scopes"] == {"gpu": "local", "turn": "local"}
    assert default["scheduler"] == "greedy"
    assert "gpu=1" in default["resources"]  # one training at a time on the one GPU


class OnceLoader(yaml.SafeLoader):
    """Reads YAML in which no key of a mapping stands twice: the first of two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert sorted(keys) == sorted(set(keys)), node.start_mark
        return super().construct_mapping(node, deep)


@pytest.fixture(scope="module")
def with_all(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile with every line that a site may take in."""
    text = (project / "profiles/slurm/config.yaml").read_text()
    folder = tmp_path_factory.mktemp("profile")
    (folder / "config.yaml").write_text(re.sub(r"^( +)# (\w+: \S)", r"\1\2", text, flags=re.MULTILINE))
    return folder


def test_line_that_a_site_takes_in_is_not_lost(profile: dict[str, Any], with_all: Path) -> None:
    full = yaml.load((with_all / "config.yaml").read_text(), OnceLoader)
    assert full["default-resources"].keys() - profile["default-resources"].keys() == {"slurm_account"}
    image = full["set-resources"]["image"].keys() - profile["set-resources"]["image"].keys()
    assert image == {"gpu_model", "constraint", "slurm_extra", "local_disk"}


def python_of(project: Path, begins: str) -> str:
    """A statement of rules/common.smk that begins so, with what is indented below it."""
    text = (project / "rules/common.smk").read_text()
    return re.search(rf"^{re.escape(begins)}.*\n(?:(?:[ \t].*)?\n)*", text, re.MULTILINE)[0]


def test_steps_that_ask_the_network_run_beside_snakemake_unless_they_have_a_partition(
    project: Path, with_all: Path
) -> None:
    names: dict[str, Any] = {}
    exec(python_of(project, "def runs_beside("), names)
    rules = (project / "rules/acquire.smk").read_text()
    asking = set(re.findall(r'^if runs_beside\("(\w+)", asks=\w+\):\n\n    localrules:\n        \1,', rules, re.M))
    assert asking == {"query", "ingest", "dos", "incontext"}
    for folder, beside in (
        (project / "profiles/slurm", True),
        (with_all, False),
        (project / "profiles/default", True),
    ):
        arguments = get_argument_parser(profiles=[str(folder)]).parse_args([])
        settings = SimpleNamespace(overwrite_resources=arguments.set_resources)
        names["workflow"] = SimpleNamespace(resource_settings=settings)
        for rule in asking:
            assert names["runs_beside"](rule, asks=8) is beside, (folder, rule)
            assert names["runs_beside"](rule, asks=0) is False


def test_jobs_are_told_that_there_is_no_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    exec(python_of(project, "os.environ.update(HF_HUB_OFFLINE="), {"os": os})
    assert os.environ["HF_HUB_OFFLINE"] == "1"


class Asked(dict[str, Any]):
    """Resources as the plugin reads them, by key and by name."""

    __getattr__ = dict.__getitem__


def sbatch_line(total: dict[str, Any]) -> str:
    """The command that the plugin submits a group with."""
    job: Any = SimpleNamespace(threads=total["_cores"], resources=Asked(total), is_group=lambda: True)
    named = dict.fromkeys(("run_uuid", "slurm_logfile", "comment_str"), "x")
    params = {**named, "account": "", "partition": f"-p {total['slurm_partition']}", "workdir": ""}
    return get_submit_command(job, params) + set_gres_string(job)


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("group", ["shard", "tail"])
def test_jobs_that_share_a_slurm_job_ask_for_the_same_whatever_the_login_node(
    profile: dict[str, Any], project: Path, group: str, attempt: int
) -> None:
    """Snakemake adds up what runs side by side, as much as `cores` (all of the login node's) has room for."""
    profiles = [str(project / f"profiles/{name}") for name in ("slurm", "default")]
    arguments = get_argument_parser(profiles=profiles).parse_args([])
    rules = [rule for rule, its in profile["groups"].items() if its == group]
    assert attempt <= profile["retries"] + 1
    together = profile["group-components"][group]
    asked = []
    for rule in (rules * together)[:together]:
        plain = (dict(arguments.default_resources) | dict(arguments.set_resources[rule])).items()
        job = {name: r.evaluate(None, None, attempt, 1, rule, None).value for name, r in plain}
        asked.append(SimpleNamespace(resources=job | {"_cores": 1, "_nodes": 1}, pipe_group=None))
    sums, told = [], set()
    for cores in (1, 2, 16, 64):
        limits = arguments.resources.copy()
        limits["_cores"] = cores
        total = GroupResources.basic_layered([asked], limits, run_local=False)
        sums.append((total["_cores"], total["mem_mb"], total["runtime"]))
        told.add(sbatch_line(total))
    mem_mb = profile["set-resources"][rules[0]]["mem_mb"].split(" * ")[0]
    assert sums == [(1, int(mem_mb) * attempt, 60 * together * attempt)] * 4
    size = f"-t {60 * together * attempt} --mem {int(mem_mb) * attempt} --ntasks=1 --cpus-per-task=1"
    assert [line.partition(" -p cpu ")[2] for line in told] == [size]
    assert sums[0][1] <= NODE_MB
    assert sums[0][2] <= DAY_MIN


def test_no_rule_has_retries_of_its_own(project: Path) -> None:
    """All attempts of a rule's own retries would share one allocation and its memory."""
    for path in [project / "Snakefile", *project.glob("rules/*.smk")]:
        assert not re.search(r"^\s*retries\s*:", path.read_text(), re.MULTILINE), path
