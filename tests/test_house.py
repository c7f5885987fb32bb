"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rhoflow import config_docs
from rhoflow.config import KNOWN_NETWORKS, Study, load_study

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


TWINS = {
    "dft-clusters": (),
    "dft-elements": (),
    "dft-finetune": ("image", "text", "fusion"),
    "dft-frozen": ("image", "text", "fusion"),
    "dft-full": ("image", "text", "fusion"),
    "multimodal": ("image", "text", "fusion", "clip"),
    "multimodal-v1": ("image", "fusion"),
    "multimodal-v1-albert": ("image", "fusion"),
}
FROZEN = {"dft-clusters", "dft-elements", "dft-frozen"}


def overlay(project: Path, study: str) -> dict[str, Any]:
    return dict(yaml.safe_load((project / f"studies/{study}.yaml").read_text()))


def test_every_study_is_told_what_it_asks_for(project: Path) -> None:
    assert {path.stem for path in (project / "studies").glob("*")} == set(TWINS)


@pytest.mark.parametrize("name", TWINS)
def test_study_is_valid_and_has_what_its_twins_are_measured_against(name: str, project: Path) -> None:
    study = load_study(overlay(project, name))
    assert study.study == name
    assert study.ablation.random == TWINS[name]
    assert set(TWINS[name]) <= set(study.models)
    assert (study.training.finetune.epochs == 0) == (name in FROZEN)
    assert study.training.frozen_levels == (("all",) if name == "dft-frozen" else ())
    assert study.baselines == ("chgnet-ridge",)


def test_bundled_studies_ask_for_their_splits_targets_and_levels(project: Path) -> None:
    studies = {name: load_study(overlay(project, name)) for name in TWINS if name.startswith("dft-")}
    assert {name: study.splits.strategy for name, study in studies.items()} == dict.fromkeys(studies, "random") | {
        "dft-clusters": "cluster",
        "dft-elements": "element",
    }
    assert {study.splits.folds for study in studies.values()} == {5}
    whole = {"dft-frozen", "dft-full"}
    for name, study in studies.items():
        assert study.source == Study().source
        assert study.models == ("image", "text", "fusion")
        assert len(study.targets) == (5 if name in whole else 2)
        assert study.levels == (("formula", "keywords", "all") if name in whole else ("keywords",))
    assert studies["dft-full"].seeds == (0, 1, 2)
    assert studies["dft-full"].slices.pixels == 299
    frozen = studies["dft-frozen"].ablation
    assert frozen.levels == frozen.random_levels == ("keywords",)
    assert (frozen.side, frozen.fractions) == (("image", "fusion"), (25, 50, 75))
    assert studies["dft-finetune"].ablation.shuffled == frozen.shuffled == ("image", "text")
    assert set(frozen.images) == {"deformation", "plane110", "mean", "window10", "three"}


def test_multimodal_asks_for_the_papers_grid_and_what_the_paper_did_not_test(project: Path) -> None:
    study = load_study(overlay(project, "multimodal"))
    assert study.source.kind == "materials_project"
    assert study.models == ("image", "text", "fusion", "clip")
    assert study.targets == ("formation_energy_per_atom", "efermi", "k_vrh")
    assert study.levels == ("formula", "keywords", "all")
    assert (study.splits.folds, study.splits.repeats, study.seeds) == (5, 3, (0, 1, 2))
    assert (study.slices.pixels, study.language.max_tokens) == (299, 512)
    assert (study.image.backbone, study.language.backbone) == (
        "timm:inception_v3",
        "hf:FacebookAI/roberta-base",
    )
    assert (study.clip.model, study.clip.weights) == ("ViT-B-32-quickgelu", "openai")
    assert study.fusion.kind == "penultimate"
    ablation = study.ablation
    assert (ablation.levels, ablation.random_levels, ablation.targets) == (("keywords",), (), ())
    assert (ablation.side, ablation.fractions) == (("image", "fusion"), (25, 50, 75))
    assert ablation.shuffled == ("image", "text")
    assert set(ablation.images) == {"total", "spin", "angstrom20", "plane110", "planes3", "fourier"}
    assert study.with_images("fourier").slices.content == "fourier"


def test_v1_asks_for_the_papers_four_stages(project: Path) -> None:
    study = load_study(overlay(project, "multimodal-v1"))
    assert study.models == ("image", "fusion", "llm")
    assert study.llm.dry_run, "no endpoint unless it is asked for"
    assert study.llm.levels == ("formula",)
    assert study.fusion.kind == "scalar"
    assert study.targets == ("band_gap", "formation_energy_per_atom", "total_magnetization", "k_vrh")
    assert study.levels == ("formula", "keywords", "all")
    assert study.clean.iqr_factor is None
    assert (study.splits.folds, study.seeds, study.training.scaling) == (6, (0, 1, 2), "min-max")
    assert (study.image.backbone, study.image.size, study.slices.pixels) == ("timm:inception_v3", 75, 75)
    assert (study.language.backbone, study.language.max_tokens) == ("hf:FacebookAI/roberta-base", 100)
    readout, finetune = study.training.readout, study.training.finetune
    assert (readout.learning_rate, readout.batch_size) == (0.007, 6)
    assert (finetune.learning_rate, finetune.batch_size, finetune.unfreeze_blocks) == (1e-4, 6, 2)


def test_v1_with_albert_differs_in_the_encoder_alone(project: Path) -> None:
    roberta, albert = (overlay(project, name) for name in ("multimodal-v1", "multimodal-v1-albert"))
    changed = {key for key in roberta.keys() | albert.keys() if roberta.get(key) != albert.get(key)}
    assert changed == {"study", "models", "language"}
    assert albert["models"] == ["image", "fusion"]
    assert albert["language"] == {"backbone": "albert-base-v2", "max_tokens": 100}


@pytest.mark.parametrize("name", KNOWN_NETWORKS)
def test_network_has_its_resources_on_a_cluster(name: str, project: Path) -> None:
    profile = yaml.safe_load((project / "profiles/slurm/config.yaml").read_text())
    assert "gpu" in str(profile["set-resources"][name])


def test_schema_is_json_schema_of_every_key(project: Path) -> None:
    schema = json.loads((project / "docs" / "config.schema.json").read_text())
    assert set(schema["properties"]) == set(Study.model_fields)


def test_test_lock_contains_the_runtime_lock(project: Path) -> None:
    def pins(name: str) -> set[str]:
        lines = (project / "envs" / name).read_text().splitlines()
        return {line.rstrip("\\ ") for line in lines if line[:1].isalnum()}

    assert pins("lock.txt") <= pins("lock-test.txt")
