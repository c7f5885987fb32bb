"""The cluster beside the profile, with executables that answer as SLURM does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rhoflow.doctor.finding import Level
from rhoflow.doctor.slurm import check_slurm

CONFIG = """Configuration data as of 2026-11-22T00:38:33
AccountingStorageType   = accounting_storage/{accounting}
MinJobAge               = {age} sec
Slurmctld(primary) at here is UP
"""
PARTITIONS = """cpu|up|1-00:00:00|(null)|32|64000
gpu|up|2:00:00|gpu:h100:4(S:0-1),shard:8|64|128000
gpu|up|2:00:00|gpu:a100:2|16|64000
gpu|up|2:00:00|(null)|256|999000
plain|up|infinite|gpu:2|16|64000
old|down|30:00|(null)|8|16000
"""
DEFAULTS = {"slurm_partition": "cpu", "mem_mb": 2000, "runtime": 60}
TRAIN = {"slurm_partition": "gpu", "gpu": 1, "runtime": "60 * attempt"}
PROFILE = {
    "slurm-status-command": "squeue",
    "default-resources": DEFAULTS,
    "set-resources": {"train": TRAIN},
}


class Cluster:
    """A folder of fake commands on PATH, and a profile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()

    def command(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def says(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        self.command(name, f"while read -r line; do echo \"$line\"; done <'{self.folder / name}'")

    def settings(self, accounting: str = "none", age: int = 300) -> None:
        self.says("scontrol", CONFIG.format(accounting=accounting, age=age))

    def problems(self, **profile: object) -> list[tuple[str, str]]:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(PROFILE | profile))
        return [(one.text, one.change) for one in check_slurm(self.folder) if one.level is Level.PROBLEM]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(tmp_path)
    monkeypatch.setenv("PATH", str(cluster.bin))
    cluster.settings()
    cluster.says("sinfo", PARTITIONS)
    return cluster


def test_fitting_profile_has_no_problem(cluster: Cluster) -> None:
    assert cluster.problems() == []


def test_machine_without_slurm_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = check_slurm(tmp_path)
    assert (found.level, found.change) == (Level.NOTE, "here: --profile profiles/default")


def test_partitions_are_listed_with_limit_and_gpus(cluster: Cluster) -> None:
    cluster.problems()
    texts = [one.text for one in check_slurm(cluster.folder) if one.text.startswith("partition")]
    assert texts == [
        "partition cpu: at most 1440 min, no GPU",
        "partition gpu: at most 120 min, GPUs: a100, h100",
        "partition plain: no time limit, GPUs: gpu",
        "partition old: at most 30 min, no GPU",
    ]


@pytest.mark.parametrize("command", [None, "sacct"])
def test_without_accounting_jobs_are_asked_for_with_squeue(cluster: Cluster, command: str | None) -> None:
    ((text, change),) = cluster.problems(**{"slurm-status-command": command})
    assert text == "no accounting here, so sacct answers nothing"
    assert change == f"{cluster.folder / 'config.yaml'}: slurm-status-command: squeue"


def test_with_accounting_either_command_will_do(cluster: Cluster) -> None:
    cluster.settings(accounting="slurmdbd")
    assert cluster.problems() == []
    assert cluster.problems(**{"slurm-status-command": "sacct"}) == []


@pytest.mark.parametrize(("age", "n"), [(0, 1), (199, 1), (200, 0)])
def test_squeue_needs_finished_jobs_to_be_remembered(cluster: Cluster, age: int, n: int) -> None:
    cluster.settings(age=age)
    found = cluster.problems()
    assert len(found) == n
    assert all(change == "slurm.conf: MinJobAge=300 (administrators)" for _, change in found)


def test_forgetful_cluster_with_accounting_takes_sacct(cluster: Cluster) -> None:
    cluster.settings(accounting="slurmdbd", age=5)
    ((_, change),) = cluster.problems()
    assert change.endswith("slurm-status-command: sacct")


@pytest.mark.parametrize(
    ("train", "text", "change"),
    [
        ({"slurm_partition": "gpus"}, "no partition 'gpus' (did you mean 'gpu'?)", "one of cpu, gpu, plain, old"),
        ({"slurm_partition": "old"}, "partition old is down", "slurm_partition, or ask"),
        ({"runtime": 121}, "runtime 121 min, partition gpu allows 120", "runtime: 120"),
        ({"slurm_partition": "cpu"}, "asks for a GPU, partition cpu has none", "train: slurm_partition"),
        ({"mem_mb": "200000 * attempt"}, "mem_mb 200000 MB, partition gpu allows 128000", "mem_mb: 128000"),
        ({"cpus_per_task": 65}, "cpus_per_task 65 CPUs, partition gpu allows 64", "cpus_per_task: 64"),
        ({"gpu_model": "h10"}, "no GPU 'h10' in partition gpu (did you mean 'h100'?)", "one of a100, h100"),
    ],
)
def test_rule_that_its_partition_cannot_take(
    cluster: Cluster, train: dict[str, object], text: str, change: str
) -> None:
    ((found, line),) = cluster.problems(**{"set-resources": {"train": TRAIN | train}})
    assert found == f"set-resources: train: {text}"
    assert change in line


@pytest.mark.parametrize("runtime", ["60 * attempt", "30 * 2 ** attempt", "1h * attempt", "60 + 61 * (attempt - 1)"])
def test_what_only_a_retry_asks_for_is_a_note(cluster: Cluster, runtime: str) -> None:
    resources = {"train": TRAIN | {"runtime": runtime}}
    assert cluster.problems(**{"set-resources": resources, "retries": 2}) == []
    notes = [one for one in check_slurm(cluster.folder) if one.level is Level.NOTE]
    if runtime == "1h * attempt":  # no expression, so Snakemake takes it as a word
        assert notes == []
        return
    (found,) = notes
    assert "set-resources: train: runtime" in found.text
    assert "at attempt 3, partition gpu allows 120" in found.text
    assert found.change.endswith(f"train: runtime: min({runtime}, 120)")


def test_group_that_takes_turns_for_longer_than_its_partition_allows(cluster: Cluster) -> None:
    turn = {"turn": 1, "slurm_partition": "cpu", "runtime": "60 * attempt"}
    group = {"set-resources": {"grids": turn, "slices": turn}, "groups": {"grids": "shard", "slices": "shard"}}
    assert cluster.problems(**group, **{"group-components": {"shard": 24}}) == []
    ((text, change),) = cluster.problems(**group, **{"group-components": {"shard": 25}})
    assert text == "groups: shard: 1500 min at attempt 1, partition cpu allows 1440"
    assert change.endswith("group-components: shard: fewer")


def test_shipped_profile_fits_ordinary_nodes_at_every_attempt(cluster: Cluster, project: Path) -> None:
    cluster.says("sinfo", "cpu|up|1-00:00:00|(null)|32|64000\ngpu|up|1-00:00:00|gpu:4|32|64000\n")
    found = [one for one in check_slurm(project / "profiles/slurm") if one.level is not Level.OK]
    # A search may take 36 hours at its third attempt.
    assert [one.text.split(",")[0] for one in found] == ["set-resources: search: runtime 2160 min at attempt 3"]


@pytest.mark.parametrize(
    "text", ["a: [1, 2\n", "- a\n- b\n", "a: \x00\n", "set-resources: 3\nretries: many\ngroups: x\n"]
)
def test_profile_that_is_no_profile_is_a_finding(cluster: Cluster, text: str) -> None:
    (cluster.folder / "config.yaml").write_text(text)
    found = check_slurm(cluster.folder)
    assert found
    assert "set-resources" in text or ("cannot be read" in found[0].text and len(found) == 1)


@pytest.mark.parametrize("train", [{"runtime": 120}, {"gpu_model": "a100"}, {"slurm_partition": "plain"}])
def test_rule_that_fits(cluster: Cluster, train: dict[str, object]) -> None:
    assert cluster.problems(**{"set-resources": {"train": TRAIN | train}}) == []


def test_both_spellings_of_resources_are_understood(cluster: Cluster) -> None:
    resources = {"default-resources": ["slurm_partition=cpu"], "set-resources": ["train:slurm_partition=nowhere"]}
    ((text, _),) = cluster.problems(**resources)
    assert text == "set-resources: train: no partition 'nowhere'"


def test_placeholder_of_the_account_is_named(cluster: Cluster) -> None:
    ((text, change),) = cluster.problems(**{"default-resources": DEFAULTS | {"slurm_account": "CHANGE_ME"}})
    assert text == "the account is still CHANGE_ME"
    assert "default-resources: slurm_account" in change


def test_account_without_accounting_is_to_be_deleted(cluster: Cluster) -> None:
    ((text, change),) = cluster.problems(**{"default-resources": DEFAULTS | {"slurm_account": "physics"}})
    assert text == "the profile names an account, and there is no accounting here"
    assert change.endswith("default-resources: slurm_account: delete it")


def test_unknown_account_gets_the_users_own(cluster: Cluster) -> None:
    cluster.settings(accounting="slurmdbd")
    cluster.says("sacctmgr", "physics\nchemistry\n")
    ((text, change),) = cluster.problems(**{"default-resources": DEFAULTS | {"slurm_account": "physic"}})
    assert text == "no account 'physic' (did you mean 'physics'?)"
    assert change.endswith("one of chemistry, physics")
    assert cluster.problems(**{"default-resources": DEFAULTS | {"slurm_account": "physics"}}) == []


def test_controller_that_is_down_is_a_problem(cluster: Cluster) -> None:
    cluster.command("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    ((text, _),) = cluster.problems()
    assert text == "scontrol failed: Unable to contact slurm controller"


def test_missing_profile_is_a_problem(cluster: Cluster) -> None:
    (found,) = check_slurm(cluster.folder / "nowhere")
    assert found.level is Level.PROBLEM
    assert "no profile" in found.text
