import pytest
import torch

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
