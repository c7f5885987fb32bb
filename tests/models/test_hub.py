"""Weights from the hub: what one that lies, breaks off or is away leaves in the cache; what a training takes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub, running

from rhoflow.config import ImageModel, Study, TextModel
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.models import hub as h
from rhoflow.models.weights import locate

NAME = "hf:owner/tiny"
CONTENT = bytes(range(256)) * 400  # 100 kB
FILES = {"config.json": b'{"architecture": "x"}', "model.safetensors": CONTENT, "tokenizer.json": b"{}"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub(dict(FILES))) as fake:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", fake.address)
        template = fake.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield fake


def record(cache: Path) -> dict[str, object]:
    return read_json(cache / "models--owner--tiny" / "weights.json")


def test_files_and_their_sha256_are_in_the_cache(hub: FakeHub, cache: Path) -> None:
    fetched = h.fetch(NAME)
    assert {path.name: path.read_bytes() for path in fetched.folder.iterdir()} == FILES
    assert fetched.n_bytes == sum(map(len, FILES.values()))
    assert record(cache)["commit"] == fetched.commit == COMMIT
    assert record(cache)["files"]["model.safetensors"] == {
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
    }


def test_training_finds_what_was_fetched(hub: FakeHub) -> None:
    folder = h.fetch(NAME).folder
    assert locate(NAME) == folder


def test_second_time_downloads_nothing(hub: FakeHub) -> None:
    h.fetch(NAME)
    hub.asked.clear()
    h.fetch(NAME)
    assert [path for _, path, _ in hub.asked if "resolve" in path] == []


def test_pickles_programs_and_paths_are_never_asked_for(hub: FakeHub, cache: Path) -> None:
    hub.files |= {"pytorch_model.bin": b"x", "modeling.py": b"x", "onnx/model.safetensors": b"x"}
    hub.listed = ["../../evil.json", "/etc/config.json", "..", "config.json/../../vocab.txt"]
    fetched = h.fetch(NAME)
    assert {path.name for path in fetched.folder.iterdir()} == set(FILES)
    asked = {path.split("/resolve/")[1] for _, path, _ in hub.asked if "resolve" in path}
    assert asked == {f"{COMMIT}/{name}" for name in FILES}


def test_repository_with_pickled_weights_alone_is_refused(hub: FakeHub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    with pytest.raises(StudyError, match=r"only pytorch_model\.bin, which is not read .* run programs.*Convert it"):
        h.fetch(NAME)


def test_connection_that_breaks_is_taken_up_where_it_broke(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", len(CONTENT) // 4)
    hub.breaks = 1
    h.fetch(NAME)
    first, second = hub.downloads("model.safetensors")
    assert (first, second) == ("", f"bytes={len(CONTENT) // 2}-")
    assert (locate(NAME) / "model.safetensors").read_bytes() == CONTENT


def test_other_bytes_than_announced_are_asked_for_again(hub: FakeHub) -> None:
    hub.wrong = 1
    h.fetch(NAME)
    assert (locate(NAME) / "model.safetensors").read_bytes() == CONTENT


def test_other_bytes_twice_are_refused_and_not_kept(hub: FakeHub, cache: Path) -> None:
    hub.wrong = 2
    with pytest.raises(
        StudyError, match=r"model\.safetensors came with sha256 \w{64}, twice.*nothing of it was kept"
    ):
        h.fetch(NAME)
    assert not list(cache.rglob("model.safetensors"))
    assert not list(cache.rglob("weights.json"))
    h.fetch(NAME)  # and a hub that is well again mends it
    assert (locate(NAME) / "model.safetensors").read_bytes() == CONTENT


def test_commit_that_is_a_path_is_refused(hub: FakeHub, cache: Path) -> None:
    hub.commit = "../../../evil"
    with pytest.raises(StudyError, match=r"names the version '\.\./\.\./\.\./evil', which is no commit"):
        h.fetch(NAME)
    assert not list(cache.parent.rglob("evil*"))


def test_hash_that_is_a_path_leaves_nothing_outside_the_cache(hub: FakeHub, cache: Path) -> None:
    hub.etag = "../../../../evil"
    with pytest.raises(StudyError, match=r"names the content of model\.safetensors '\.\./.*evil', which is no hash"):
        h.fetch(NAME)
    assert not list(cache.parent.rglob("evil*"))


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, r"accepted first: do so at http.*owner/tiny, then `hf auth login`"),
        (404, r"no such repository, or a private one"),
        (400, r"could not be fetched from http.*login node.*it goes on"),
    ],
)
def test_refusal_says_what_to_do(hub: FakeHub, status: int, says: str) -> None:
    hub.status = status
    with pytest.raises(StudyError, match=says):
        h.fetch(NAME)


@pytest.mark.parametrize("answer", [b"<html>log in to the guest network</html>", b"[]", b'{"sha": null}'])
def test_answer_of_no_hub_is_one_line(hub: FakeHub, answer: bytes) -> None:
    hub.answer = answer
    with pytest.raises(StudyError, match=r"could not be fetched from|which is no commit"):
        h.fetch(NAME)


def test_no_network_says_where_to_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(StudyError, match=r"could not be fetched from http://127\.0\.0\.1:9 .*a login node"):
        h.fetch(NAME)


def test_offline_switch_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        StudyError, match=r"HF_HUB_OFFLINE forbids to download; run: HF_HUB_OFFLINE=0 rhoflow fetch-w"
    ):
        h.fetch(NAME)


def test_damaged_file_is_refused_by_the_training(hub: FakeHub) -> None:
    file = (h.fetch(NAME).folder / "model.safetensors").resolve()
    file.write_bytes(CONTENT[:-1] + b"\0")
    with pytest.raises(
        StudyError, match=r"model\.safetensors has sha256 \w{64}, weights\.json says \w{64}.*fetch-wei"
    ):
        locate(NAME)


def test_training_takes_the_recorded_version_not_the_newest(hub: FakeHub, cache: Path) -> None:
    old = h.fetch(NAME).folder
    newest = cache / "models--owner--tiny" / "snapshots" / ("f" * 40)
    newest.mkdir()
    (cache / "models--owner--tiny" / "refs").mkdir(exist_ok=True)
    (cache / "models--owner--tiny" / "refs" / "main").write_text("f" * 40)
    assert locate(NAME) == old


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "owner/..", "/abs"])
def test_name_that_is_a_path_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(StudyError, match="not in the local cache"):
        locate(f"hf:{name}")


def test_only_weights_of_trained_networks_count() -> None:
    study = Study(image=ImageModel(weights="hf:a/b"), language=TextModel(backbone="hf:c/d"))
    assert h.study_weights(study) == {"image.weights": "hf:a/b", "language.backbone": "hf:c/d"}
    assert h.study_weights(study.model_copy(update={"models": ("text",)})) == {"language.backbone": "hf:c/d"}


def test_command_fetches_what_the_study_names(hub: FakeHub, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("models: [image]\nimage: {backbone: 'timm:test_efficientnet', weights: 'hf:owner/tiny'}\n")
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("rhoflow")), "fetch-weights", "--study", str(study)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "image.weights = hf:owner/tiny" in ended.stdout
    assert COMMIT[:12] in ended.stdout
    assert len(list((tmp_path / "home").rglob("model.safetensors"))) == 1
