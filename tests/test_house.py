"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rhoflow import config_docs
from rhoflow.config import Study, load_study

ROOMS = (
    *("config", "materials", "sources", "density", "text", "dataset", "models", "training", "report"),
    # predict reads runs and lineage as the report does; only the command line needs it, the doctor and the preview
    *("predict", "doctor", "preview", "cli"),
)
LEAVES = {"errors", "job_record", "progress", "properties", "source_digest"}


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("rhoflow.")}


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_from_rooms_above(room: str, project: Path) -> None:
    package = project / "src" / "rhoflow"
    files = [package / f"{room}.py"] if (package / f"{room}.py").exists() else list((package / room).rglob("*.py"))
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) | LEAVES
    assert files
    for file in files:
        assert imported_rooms(file) <= allowed, file


def test_library_never_imports_snakemake(project: Path) -> None:
    for file in (project / "src").rglob("*.py"):
        assert "snakemake" not in {
            line.split()[1] for line in file.read_text().splitlines() if line.startswith(("import ", "from "))
        }, file


def test_import_is_light() -> None:
    heavy = "('torch', 'pymatgen', 'sklearn', 'snakemake')"
    code = f"import rhoflow.config, sys; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize("path", sorted(map(str, config_docs.files())))
def test_generated_file_agrees_with_study_model(path: str, project: Path) -> None:
    made = config_docs.files()[Path(path)]
    assert (project / path).read_text() == made, f"{path} is stale: run `make config`"


def test_default_config_is_the_default_study(project: Path) -> None:
    assert load_study(yaml.safe_load((project / "config.yaml").read_text())) == Study()


@pytest.mark.parametrize("study", ["dft-full", "multimodal", "multimodal-v1"])
def test_study_overlay_is_valid(study: str, project: Path) -> None:
    overlay = yaml.safe_load((project / f"studies/{study}.yaml").read_text())
    assert load_study(overlay).study == study


def test_schema_is_json_schema_of_every_key(project: Path) -> None:
    schema = json.loads((project / "docs" / "config.schema.json").read_text())
    assert set(schema["properties"]) == set(Study.model_fields)


def test_test_lock_contains_the_runtime_lock(project: Path) -> None:
    def pins(name: str) -> set[str]:
        lines = (project / "envs" / name).read_text().splitlines()
        return {line.rstrip("\\ ") for line in lines if line[:1].isalnum()}

    assert pins("lock.txt") <= pins("lock-test.txt")
