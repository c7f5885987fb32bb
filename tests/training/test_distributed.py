"""A training in two processes is the training in one: which rows, which weight, whose files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from rhoflow.errors import StudyError
from rhoflow.training.batches import EvenBatches
from rhoflow.training.distributed import ALONE, Share, check_batches, join
from rhoflow.training.resume import ResumeFile, StageState
from rhoflow.training.whole_batch import whole_batch_norm

TESTS = Path(__file__).parents[1]
QUIET = os.environ | {"TORCH_CPP_LOG_LEVEL": "ERROR"}
RUN = Path("runs/image/k_vrh/none/fold0")


@pytest.mark.parametrize(("n_rows", "n"), [(5, 2), (4, 2), (7, 3), (3, 3), (6, 1)])
def test_weighted_means_of_the_shares_average_to_the_mean_of_the_batch(n_rows: int, n: int) -> None:
    rows = torch.randn(n_rows, generator=torch.Generator().manual_seed(n_rows))
    shares = [Share(rank, n) for rank in range(n)]
    means = [share.of(rows).mean() * share.weight(n_rows) for share in shares]
    torch.testing.assert_close(sum(means) / n, rows.mean(), atol=1e-6, rtol=0)


def test_weight_of_a_training_in_one_process_is_exactly_one() -> None:
    assert [ALONE.weight(n) for n in (1, 7, 16)] == [1.0, 1.0, 1.0]


def test_processes_share_the_batches_of_one_process() -> None:
    def batches(share: Share = ALONE) -> list[list[int]]:
        return list(EvenBatches(range(17), 6, seed=lambda epoch: 5, share=share))

    whole, first, second = batches(), batches(Share(0, 2)), batches(Share(1, 2))
    assert [sorted([*a, *b]) for a, b in zip(first, second, strict=True)] == [sorted(batch) for batch in whole]
    assert [len(batch) for batch in whole] == EvenBatches(range(17), 6, seed=lambda epoch: 5).sizes == [6, 6, 5]
    assert [len(batch) for batch in second] == [3, 3, 2]


def test_batch_smaller_than_the_processes_is_refused() -> None:
    check_batches("finetune", 2, 2, Share(0, 2))
    with pytest.raises(
        StudyError, match=r"training\.devices = 3: a batch of 2 .*raise training\.finetune\.batch_size"
    ):
        check_batches("finetune", 2, 9, Share(0, 3))
    with pytest.raises(StudyError, match="1 in the validation part"):
        check_batches("finetune", 9, 1, Share(0, 2))


def test_too_few_gpus_name_the_line_of_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert join(1, 1) == ALONE
    with pytest.raises(StudyError, match=r"training\.devices = 2: this job sees 1 GPU.*set `gpu: 2`"):
        join(2, 1)


def test_process_that_takes_part_saves_nothing(tmp_path: Path) -> None:
    ResumeFile(tmp_path / "resume.pt", "digest", writes=False).save({"readout": StageState()}, now=True)
    assert list(tmp_path.iterdir()) == []
    ResumeFile(tmp_path / "resume.pt", "digest").save({"readout": StageState(epoch=2)}, now=True)
    assert ResumeFile(tmp_path / "resume.pt", "digest", writes=False).load()["readout"].epoch == 2


def test_layers_are_as_before_after_a_training_together() -> None:
    layer = nn.BatchNorm1d(2)
    before = dict(vars(layer))
    with whole_batch_norm(layer, Share(0, 2)):
        assert "forward" in vars(layer)
    assert dict(vars(layer)) == before
    with whole_batch_norm(layer, ALONE):
        assert "forward" not in vars(layer)


def test_gradient_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "gradients_together.py")]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting")], env=QUIET, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    deviation, gradient = map(float, told[0].split())
    assert deviation < 1e-12 < 1e-3 * gradient


# Whole trainings, each process importing all of torch, Lightning, timm and transformers.


def command(root: Path, encoder: Path, *arguments: str, devices: int = 2) -> list[str]:
    places = ["--root", str(root), "--encoder", str(encoder), "--devices", str(devices)]
    return [sys.executable, str(TESTS / "train_together.py"), *places, *arguments]


def train(root: Path, encoder: Path, *arguments: str, devices: int = 2) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    ended = subprocess.run(
        command(root, encoder, *arguments, devices=devices),
        env=environment | {"PYTHONPATH": str(TESTS), "TORCH_CPP_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def results(root: Path) -> dict[str, bytes]:
    """Content of all result files but those that hold times."""
    files = sorted(file for file in (root / "runs").rglob("*") if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files if file.name != "run.prov.json"}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A pack of two runs, in two processes."""
    root = tmp_path_factory.mktemp("together")
    told = train(root, tiny_encoder, "--seeds", "2")
    assert told.count("finetune 3/3") == 2  # told once a run
    return root


@pytest.mark.slow
def test_two_processes_train_as_one_within_rounding(together: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    train(tmp_path, tiny_encoder, "--seeds", "2", devices=1)
    assert set(results(tmp_path)) == set(results(together))
    for seed in ("seed0", "seed1"):
        one, two = (pd.read_csv(root / RUN / seed / "history.csv") for root in (tmp_path, together))
        readout, first, last = one["stage"] == "readout", len(one) - 3, len(one) - 1
        pd.testing.assert_frame_equal(one[readout], two[readout])  # each process does it alone
        # AdamW divides by the size of the gradient, so rounding errors of small gradients grow with every step.
        assert two["val_loss"][first] == pytest.approx(one["val_loss"][first], rel=3e-4)
        assert two["val_loss"][last] == pytest.approx(one["val_loss"][last], rel=2e-2)
        assert not two["val_loss"].equals(one["val_loss"])  # it was another way of adding up


@pytest.mark.slow
def test_same_number_of_processes_gives_the_same_bytes(together: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    train(tmp_path, tiny_encoder, "--seeds", "1")
    again = results(tmp_path)
    assert len(again) == 4
    assert again == {name: content for name, content in results(together).items() if "/seed0/" in name}


@pytest.mark.slow
def test_killed_training_takes_its_other_process_along_and_resumes(
    together: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    arguments = command(tmp_path, tiny_encoder, "--finetune", json.dumps({"epochs": 3}))
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": str(TESTS)}, stderr=subprocess.DEVNULL)
    other: list[int] = []
    while not other and process.poll() is None:
        other = children(process.pid)
        time.sleep(0.02)
    resume = tmp_path / "scratch" / RUN.relative_to("runs") / "seed0" / "resume.pt"
    while not (resume.exists() and "finetune" in saved(resume)) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{other[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{other[0]}").exists()
    train(tmp_path, tiny_encoder)
    assert results(tmp_path) == {name: data for name, data in results(together).items() if "/seed0/" in name}


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def saved(resume: Path) -> dict[str, object]:
    return torch.load(resume, weights_only=True)["stages"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "finetune"),
    [
        ("text", {"unfreeze_every": 1, "unfreeze_blocks": 2, "clip_norm": 0.5, "accumulate": 2}),
        ("image", {"layer_decay": 0.8, "schedule": "cosine", "batch_size": 3, "unfreeze_every": 1}),
    ],
)
def test_every_setting_works_in_two_processes(
    model: str, finetune: dict[str, object], tmp_path: Path, tiny_encoder: Path
) -> None:
    train(tmp_path, tiny_encoder, "--model", model, "--dropout", "0.2", "--finetune", json.dumps(finetune))
    (history,) = (tmp_path / "runs").rglob("history.csv")
    assert pd.read_csv(history)["stage"].tolist().count("finetune") == 3
