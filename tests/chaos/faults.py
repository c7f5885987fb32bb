"""Kinds of fault: each brings one about, sees that it happened, and leaves the study as a user would find it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.disturbed import RUN, WRITES, Disturbed, until
from chaos.saboteur import STALL_S

# Script, folder below results/small (or scratch) in which the blow falls, and what is asked of Snakemake.
SCRIPT = {"train": "train", "publish": "train"}
BELOW = {"train": "scratch/small/image", "publish": "results/small/runs"}
STORE = {
    "ingest": "raw/0000.h5",
    "grids": "grids/0000.zarr.zip",
    "slices": "slices/0000.npz",
    "describe": "text/0000.jsonl",
}
# As the rule `all` does: a deleted file whose product exists is remade only for those who ask for it.
ASKED = [f"results/small/{store}{suffix}" for store in STORE.values() for suffix in ("", ".digest.json")]
FULL = {"ingest": "512k", "slices": "16k", "describe": "4k", "train": "128k", "publish": "128k"}
SBATCH_GPU = ("image:slurm_partition=gpu", "image:gpu=1", "image:cpus_per_task=1")


@dataclass(frozen=True)
class Case:
    """One fault at one stage on one executor."""

    kind: str
    stage: str
    executor: str = "local"

    def __str__(self) -> str:
        return f"{self.kind} at {self.stage} on {self.executor}"


class ImpossibleError(Exception):
    """This machine does not let the fault be brought about."""


Fault = Callable[[Disturbed, Case], str]
FAULTS: dict[str, Fault] = {}


def fault(kind: str) -> Callable[[Fault], Fault]:
    def register(function: Fault) -> Fault:
        FAULTS[kind] = function
        return function

    return register


def strike(workspace: Disturbed, case: Case) -> str:
    """Bring the fault of a case about; say how it is known to have happened."""
    workspace.executor = case.executor
    workspace.undo("train" if case.stage == "publish" else case.stage)
    return FAULTS[case.kind](workspace, case)


def asked() -> list[str]:
    return ["--", *ASKED, RUN]


def order(workspace: Disturbed, case: Case, deed: str) -> None:
    below = BELOW.get(case.stage) or f"results/small/{WRITES[case.stage][0]}"
    workspace.order(SCRIPT.get(case.stage, case.stage), f"{deed}:{below}")


def must_fail(workspace: Disturbed, case: Case, *options: str) -> str:
    """Run to the end, which must be a failure on this machine; on SLURM the profile tries again."""
    status, said = workspace.ends(*options, *asked())
    assert workspace.struck(), said
    if case.executor == "local":
        assert status != 0, said
    else:
        assert status == 0, said
        assert "Trying to restart job" in said, said
    return said


def until_stalled(workspace: Disturbed, case: Case, *options: str, deed: str = "stall") -> subprocess.Popen[str]:
    order(workspace, case, deed)
    process = workspace.start(*options, *asked())
    workspace.stalled(process)
    return process


def slurm_state(job: str) -> dict[str, str]:
    told = subprocess.run(["scontrol", "show", "job", job, "--oneliner"], capture_output=True, text=True, check=True)
    return dict(re.findall(r"(\S+?)=(\S*)", told.stdout))


def until_state(job: str, *states: str) -> str:
    until(lambda: slurm_state(job)["JobState"] in states, f"job {job} to be {' or '.join(states)}")
    return f"SLURM: {slurm_state(job)['JobState']}"


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


@fault("job killed while it writes")
def job_killed(workspace: Disturbed, case: Case) -> str:
    order(workspace, case, "kill")
    must_fail(workspace, case)
    pid = workspace.struck()["pid"]
    assert gone(pid)
    return f"SIGKILL; {len(workspace.parts())} temporary file left" if workspace.parts() else "SIGKILL"


@fault("half a file written, job dies")
def half_file(workspace: Disturbed, case: Case) -> str:
    order(workspace, case, "half")
    said = must_fail(workspace, case)
    assert "Removing output files of failed job" in said or case.executor == "slurm", said
    return f"half of {Path(workspace.struck()['file']).name} was there"


@fault("half a file written, all killed")
def half_file_all_killed(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case, deed="half_stall")
    half = workspace.folder / workspace.struck()["file"]
    assert half.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    unlock(workspace, case)
    return f"half of {half.name} stayed, {half.stat().st_size} bytes"


@fault("all processes killed")
def all_killed(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    unlock(workspace, case)
    return "SIGKILL of the process group"


@fault("snakemake killed, its job goes on")
def main_killed(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    struck = workspace.struck()
    assert not gone(struck["pid"])
    unlock(workspace, case)
    status, said = workspace.ends(*asked())
    number = struck["job"] or str(struck["pid"])  # small steps run beside snakemake on SLURM too
    assert status != 0, said
    assert "still at work here" in said, said
    assert number in said, (number, said)
    if struck["job"]:
        subprocess.run(["scancel", number], check=True)
        until_state(number, "CANCELLED")
    else:
        os.kill(int(number), signal.SIGKILL)
    until(lambda: gone(struck["pid"]), "the orphan to end", 60)
    return f"SIGKILL; job {number} went on, and the next start named it"


@fault("control-C")
def interrupted(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    os.killpg(process.pid, signal.SIGINT)
    until(lambda: gone(workspace.struck()["pid"]), "the job to end", STALL_S / 2)
    status, said = workspace.wait(process)
    assert status != 0, said
    return f"SIGINT, snakemake ended with {status}"


@fault("job's process killed from outside")
def process_killed(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    os.kill(workspace.struck()["pid"], signal.SIGKILL)
    status, said = workspace.wait(process)
    assert (status != 0) == (case.executor == "local"), said
    return "SIGKILL"


def unlock(workspace: Disturbed, case: Case) -> None:
    """See that the lock of a killed run is explained, then do as it says."""
    status, said = workspace.ends(*asked())
    assert status != 0, said
    assert "--unlock" in said, said
    assert workspace.ends("--unlock")[0] == 0


@fault("disk full")
def disk_full(workspace: Disturbed, case: Case) -> str:
    place = workspace.root / WRITES[case.stage][0] if case.stage in WRITES else workspace.root / "runs"
    place = workspace.folder / "scratch" if case.stage == "train" else place
    retries = ("--retries", "0")
    with small_disk(place, FULL[case.stage]):
        status, said = workspace.ends(*retries, *asked())
        assert status != 0, said
        logs = [path.read_text() for path in (workspace.folder / "logs").rglob("*.log")]
        assert "No space left" in said + "".join(logs) or "no space left" in said + "".join(logs), said
    return "No space left on device"


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(mount, check=False).returncode:
        raise ImpossibleError("a small disk (tmpfs) cannot be mounted here: it takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def unchanged_dates(path: Path, change: Callable[[Path], None]) -> None:
    """Change a file behind Snakemake's back."""
    times = path.stat()
    change(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip(path: Path) -> None:
    """Change some bits in the last third, where the data are."""
    content = bytearray(path.read_bytes())
    for k in range(len(content) * 2 // 3, len(content) * 2 // 3 + 64):
        content[k] ^= 0x10
    path.write_bytes(content)


def reword(path: Path) -> None:
    """Change a text so that it can still be read."""
    path.write_text(path.read_text().replace("crystallizes", "crystallises").replace("structured", "Structured", 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noticed(workspace: Disturbed, case: Case, damaged: Path) -> str:
    """Run; the reader must name the file and the remedy. Do as it says."""
    status, said = workspace.ends("--retries", "0", *asked())
    logs = [path.read_text() for path in (workspace.folder / "logs").rglob("*.log")]
    where = damaged.relative_to(workspace.folder)
    assert status != 0, said
    assert f"rm {where}" in said + "".join(logs), said
    damaged.unlink()
    return f"the reader named {where.name} and the remedy"


@fault("store corrupted, dates unchanged")
def corrupted(workspace: Disturbed, case: Case) -> str:
    readers = {"ingest": "slices", "slices": "train", "describe": "leakage"}
    store = workspace.root / STORE[case.stage]
    workspace.smaller()
    restore(workspace)
    workspace.undo(readers[case.stage])
    unchanged_dates(store, reword if case.stage == "describe" else flip)
    return noticed(workspace, case, store)


@fault("content hashes cut, dates unchanged")
def hashes_cut(workspace: Disturbed, case: Case) -> str:
    restore(workspace)
    workspace.undo("train")
    store = workspace.root / f"{STORE[case.stage]}.digest.json"
    unchanged_dates(store, cut)
    return noticed(workspace, case, store)


@fault("store deleted")
def deleted(workspace: Disturbed, case: Case) -> str:
    restore(workspace)
    store = workspace.root / STORE[case.stage]
    store.unlink()
    workspace.succeeds(*asked())
    assert store.exists()
    return f"{store.name} was gone, and made again"


@fault("resume state damaged")
def resume_damaged(workspace: Disturbed, case: Case) -> str:
    workspace.order("train", "kill:scratch/small/image/k_vrh/none/fold1/seed0/resume")
    must_fail(workspace, case)
    state = workspace.folder / "scratch/small/image/k_vrh/none/fold1/seed0/resume.pt"
    state.write_bytes(b"PK\3\4" + bytes(1000))
    return "resume.pt made unreadable"


@fault("scancel")
def cancelled(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    job = workspace.struck()["job"]
    subprocess.run(["scancel", job], check=True)
    told = until_state(job, "CANCELLED")
    status, said = workspace.wait(process)
    assert status == 0, said
    return told


@fault("out of memory")
def out_of_memory(workspace: Disturbed, case: Case) -> str:
    order(workspace, case, "memory")
    workspace.succeeds("--set-resources", *SBATCH_GPU, "image:mem_mb=2500*attempt", *asked())
    # SLURM calls the step out of memory; the job around it has FAILED without cgroups.
    job = workspace.struck()["job"]
    told = "".join(path.read_text() for path in (workspace.folder / "logs/slurm").rglob(f"{job}.log"))
    assert "exceeded memory limit" in told, told
    return f"{until_state(job, 'OUT_OF_MEMORY', 'FAILED')}, exceeded memory limit"


@fault("time limit")
def time_limit(workspace: Disturbed, case: Case) -> str:
    # Minutes in which the job comes to where it stands still, and fewer than it would stand there (STALL_S).
    resources = ("--set-resources", *SBATCH_GPU, "image:mem_mb=4000", "image:runtime=3 if attempt == 1 else 60")
    process = until_stalled(workspace, case, *resources)
    told = until_state(workspace.struck()["job"], "TIMEOUT")
    status, said = workspace.wait(process)
    assert status == 0, said
    return told


@fault("node drained")
def node_drained(workspace: Disturbed, case: Case) -> str:
    with node("gpu1", "drain"):
        process = workspace.start(*asked())
        until(lambda: "rhoflow_" in queue("gpu") or process.poll() is not None, "a job in the queue")
        time.sleep(5)
        waiting = queue("gpu")
        assert "PENDING" in waiting, waiting + workspace.said()
    status, said = workspace.wait(process)
    assert status == 0, said
    return f"SLURM: {waiting.split('|')[1]} ({waiting.split('|')[2].strip()})"


@fault("node fails")
def node_fails(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case)
    job = workspace.struck()["job"]
    with node("gpu1", "down"):
        until(lambda: slurm_state(job)["JobState"] != "RUNNING", "the job to be lost", 60)
        told = slurm_state(job)
    status, said = workspace.wait(process)
    assert status == 0, said
    return f"SLURM: {told['JobState']}, restarts {slurm_state(job)['Restarts']}"


@fault("controller restarted")
def controller_restarted(workspace: Disturbed, case: Case) -> str:
    process = until_stalled(workspace, case, deed="pause")
    pid_file = Path(os.environ["SLURM_CONF"]).parents[1] / "run/slurmctld.pid"
    before = int(pid_file.read_text())
    os.kill(before, signal.SIGKILL)
    until(lambda: gone(before), "the controller to end", 30)
    failed = subprocess.run(["timeout", "2", "squeue"], capture_output=True, check=False).returncode
    assert failed
    time.sleep(10)
    subprocess.run(["slurmctld"], check=True)
    until(lambda: subprocess.run(["timeout", "5", "squeue"], check=False).returncode == 0, "a new controller", 60)
    status, said = workspace.wait(process)
    assert status == 0, said
    return "squeue without an answer for 10 s"


def queue(partition: str) -> str:
    command = ["squeue", "--noheader", f"--partition={partition}", "--format=%j|%T|%R"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def node(name: str, state: str) -> Iterator[None]:
    update = ["scontrol", "update", f"nodename={name}"]
    subprocess.run([*update, f"state={state}", "reason=chaos"], check=True)
    try:
        yield
    finally:
        subprocess.run([*update, "state=resume"], check=True)


def restore(workspace: Disturbed) -> None:
    """Put back what `strike` took away: these faults are of a finished study."""
    shutil.copytree(workspace.whole, workspace.folder, symlinks=True, dirs_exist_ok=True)


def finish(workspace: Disturbed, case: Case) -> None:
    """A plain rerun to the end."""
    workspace.executor = "local" if case.executor == "local" else "slurm"
    workspace.succeeds(*asked())


def cases(executors: Sequence[str]) -> list[Case]:
    return [case for case in CASES if case.executor in executors]


CASES = [
    *(Case("job killed while it writes", stage) for stage in ("ingest", "slices", "describe", "views", "train")),
    *(Case("half a file written, job dies", stage) for stage in ("grids", "clean", "publish")),
    *(Case("half a file written, all killed", stage) for stage in ("slices", "views", "publish")),
    *(Case("all processes killed", stage) for stage in ("catalog", "train")),
    *(Case("snakemake killed, its job goes on", stage) for stage in ("clean", "train")),
    Case("control-C", "train"),
    *(Case("disk full", stage) for stage in ("ingest", "slices", "publish", "train")),
    *(Case("store corrupted, dates unchanged", stage) for stage in ("ingest", "slices", "describe")),
    Case("content hashes cut, dates unchanged", "slices"),
    *(Case("store deleted", stage) for stage in ("slices", "describe")),
    Case("resume state damaged", "train"),
    *(Case("scancel", stage, "slurm") for stage in ("train", "publish")),
    Case("out of memory", "train", "slurm"),
    Case("time limit", "train", "slurm"),
    Case("node drained", "train", "slurm"),
    Case("node fails", "train", "slurm"),
    Case("controller restarted", "train", "slurm"),
    *(Case("snakemake killed, its job goes on", stage, "slurm") for stage in ("views", "train")),
    Case("job's process killed from outside", "publish", "slurm"),
    Case("half a file written, job dies", "clean", "slurm"),
    Case("job killed while it writes", "train", "slurm"),
    Case("disk full", "publish", "slurm"),
]
