import pytest
import torch

from rhoflow.errors import StudyError
from rhoflow.training import engine


def test_seeding_is_that_of_torch():
    with torch.random.fork_rng([]):
        torch.manual_seed(12345)
        expected = torch.rand(4)
        engine.seed_torch(12345)
        assert torch.equal(torch.rand(4), expected)


def test_settings_of_torch_are_as_before_afterwards():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    with engine.reproducible(threads=1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
    assert torch.get_num_threads() == before[0]
    assert torch.are_deterministic_algorithms_enabled() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_settings_of_torch_are_as_before_after_an_error():
    threads = torch.get_num_threads()
    with pytest.raises(KeyError), engine.reproducible(threads=1):
        raise KeyError
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_trainer_says_nothing_and_writes_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with engine.trainer():
        pass
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_trainer_ignores_the_scheduler(monkeypatch):
    """Lightning would refuse a SLURM job of two tasks."""
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "rhoflow")
    with engine.trainer() as trainer:
        assert trainer.world_size == 1


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with or without bfloat16, or none."""

    def pretend(has_gpu, has_it):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)

    return pretend


@pytest.mark.parametrize(
    ("setting", "has_gpu", "has_it", "expected"),
    [
        (32, True, True, "32-true"),
        ("auto", True, True, "bf16-mixed"),
        ("auto", True, False, "32-true"),
        ("auto", False, False, "32-true"),
        ("bf16", True, True, "bf16-mixed"),
    ],
)
def test_precision_is_what_the_machine_has(gpu, setting, has_gpu, has_it, expected):
    gpu(has_gpu, has_it)
    assert engine.steps_precision(setting) == expected


@pytest.mark.parametrize("has_gpu", [True, False])
def test_bfloat16_without_hardware_says_what_to_set(gpu, has_gpu):
    gpu(has_gpu, False)
    with pytest.raises(StudyError, match=r"training\.precision = 'bf16': no GPU with bfloat16 here; set it to 32"):
        engine.steps_precision("bf16")
