import math

import torch

from rhoflow.training.resume import ResumeFile, StageState


def _state():
    return StageState(
        epoch=3,
        best_epoch=2,
        best_loss=0.25,
        best={"w": torch.arange(3.0)},
        model={"w": torch.ones(3)},
        optimizer={"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        history=[{"stage": "readout", "epoch": 1, "val_loss": 0.5}],
    )


def test_saved_state_comes_back(tmp_path):
    file = ResumeFile(tmp_path / "resume.pt", "digest", every_s=0)
    file.save({"readout": _state()}, now=False)
    back = file.load()["readout"]
    assert torch.equal(back.best["w"], torch.arange(3.0))
    assert back.optimizer["param_groups"] == [{"lr": 0.1, "params": [0]}]
    assert (back.epoch, back.best_epoch, back.best_loss, back.stopped) == (3, 2, 0.25, None)
    assert back.history == _state().history


def test_state_of_another_run_is_ignored(tmp_path):
    ResumeFile(tmp_path / "resume.pt", "one", every_s=0).save({"readout": _state()}, now=True)
    assert ResumeFile(tmp_path / "resume.pt", "two").load() == {}


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert ResumeFile(tmp_path / "resume.pt", "one").load() == {}


def test_file_is_plain_data(tmp_path):
    file = ResumeFile(tmp_path / "resume.pt", "digest")
    file.save({"readout": StageState()}, now=True)
    saved = torch.load(file.path, weights_only=True)
    assert saved["stages"]["readout"]["best_loss"] == math.inf


def test_saves_are_not_more_frequent_than_asked(tmp_path):
    file = ResumeFile(tmp_path / "resume.pt", "digest", every_s=1000)
    file.save({"readout": StageState()}, now=False)
    assert not file.path.exists()
    file.save({"readout": StageState()}, now=True)
    assert file.path.exists()
