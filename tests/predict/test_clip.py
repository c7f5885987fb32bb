"""CLIP's networks predict new crystals, from the study and from an exported folder that asks for nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rhoflow.config import Clip
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file
from rhoflow.predict import Ensemble, export_model, predict, read_exported, read_study
from rhoflow.predict.encoder import take_clip

CONFIG = "encoder/open_clip_config.json"


@pytest.fixture(scope="module")
def clip(finished: Path) -> Ensemble:
    return read_study(finished, model="clip")


@pytest.fixture(scope="module")
def whole_export(clip: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "clip"
    export_model(clip, folder)
    return folder


@pytest.fixture
def exported(whole_export: Path, tmp_path: Path) -> Path:
    """A copy of the exported folder, elsewhere, to damage at will."""
    return shutil.copytree(whole_export, tmp_path / "moved")


def test_moved_folder_predicts_what_the_study_does(
    clip: Ensemble, exported: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [demo / name / "CHGCAR.xz" for name in ("MgO_rocksalt", "Al_fcc")]
    monkeypatch.chdir(exported.parent)
    here = predict(clip, files)
    assert predict(read_exported(Path(exported.name)), files) == here
    assert [one.n_runs for one in here] == [2, 2]
    assert here[0].mean != here[1].mean


def test_folder_names_no_path_of_this_machine(whole_export: Path, finished: Path) -> None:
    files = {path.relative_to(whole_export).as_posix() for path in whole_export.rglob("*") if path.is_file()}
    weights = {f"runs/fold{fold}-seed0/model.safetensors" for fold in range(2)}
    assert files == {"README.md", "model.json", CONFIG} | weights
    for name in ("README.md", "model.json", CONFIG):
        assert str(finished.parents[1]) not in (whole_export / name).read_text()


def _edit_towers(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change CLIP's configuration, and its sha256 with it: a folder made by somebody else."""
    settings, card = (json.loads((folder / name).read_text()) for name in (CONFIG, "model.json"))
    change(settings["model_cfg"])
    (folder / CONFIG).write_text(json.dumps(settings))
    card["encoder"]["files"]["open_clip_config.json"] = digest_file(folder / CONFIG)
    (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model["text_cfg"].update(hf_model_name="somebody/model"),
        lambda model: model["text_cfg"].update(hf_tokenizer_name="somebody/model"),
        lambda model: model["text_cfg"].update(tokenizer_kwargs={"bpe_path": "/etc/passwd"}),
        lambda model: model["text_cfg"].update(tokenizer_kwargs={"reduction_mask": "syntax"}),
        lambda model: model["vision_cfg"].update(timm_model_name="hf-hub:somebody/model"),
        lambda model: model["vision_cfg"].update(timm_model_name="local-dir:/tmp"),
    ],
    ids=["text-tower", "tokenizer", "vocabulary", "reduction", "image-tower", "folder"],
)
def test_folder_that_asks_for_files_from_elsewhere_is_refused(
    exported: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    _edit_towers(exported, change)
    with pytest.raises(StudyError, match=r"lies outside of the exported folder"):
        read_exported(exported)


def test_changed_configuration_is_refused(exported: Path) -> None:
    (exported / CONFIG).write_text((exported / CONFIG).read_text() + " ")
    with pytest.raises(StudyError, match="changed or damaged"):
        read_exported(exported)


def test_file_beside_the_configuration_is_refused(exported: Path) -> None:
    (exported / "encoder/open_clip_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(StudyError, match=r"must hold open_clip_config\.json and nothing else"):
        read_exported(exported)


def test_named_architecture_needs_no_copy(tmp_path: Path) -> None:
    assert take_clip(Clip(), tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_text_tower_of_the_hub_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"hf_model_name = 'roberta-base' lies outside"):
        take_clip(Clip(model="roberta-ViT-B-32"), tmp_path)


def test_name_that_open_clip_does_not_know_is_refused(exported: Path) -> None:
    card = json.loads((exported / "model.json").read_text())
    card["encoder"], card["study"]["clip"]["model"] = None, "/etc"
    (exported / "model.json").write_text(json.dumps(card))
    with pytest.raises(StudyError, match=r"open_clip \S+ has no model '/etc'"):
        read_exported(exported)
