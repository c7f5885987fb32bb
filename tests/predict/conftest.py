"""A small study of real crystals, made by the study's own stages without snakemake, with tiny networks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from small_study import CRYSTALS, STUDY
from tiny import write_tiny_clip

from rhoflow.config import Study, load_study
from rhoflow.dataset.clean import write_clean
from rhoflow.dataset.splits import write_splits
from rhoflow.dataset.views import write_views
from rhoflow.density.grids import grid_shard
from rhoflow.density.images import slice_shard
from rhoflow.density.ingest import ingest_shard
from rhoflow.predict import Ensemble, export_model, read_study
from rhoflow.report.provenance import Code, write_provenance
from rhoflow.sources.catalog import write_catalog
from rhoflow.sources.plan import write_plan
from rhoflow.text.describe import Describer, Description, fallback_text
from rhoflow.text.shards import describe_shard
from rhoflow.training.job import train_job

ARCHIVE = "raw/0000.h5"


@contextmanager
def fallback_texts() -> Iterator[None]:
    """The fall-back text for every crystal: robocrystallographer, tested elsewhere, takes 10 s to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Describer, "describe", lambda self, structure: Description(fallback_text(structure), "fallback")
        )
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_texts() -> Iterator[None]:
    with fallback_texts():
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, demo: Path, tiny_encoder: Path) -> Path:
    """Result folder of the study, with all its networks; do not change it."""
    folder = tmp_path_factory.mktemp("predict")
    for name in CRYSTALS:
        shutil.copytree(demo / name, folder / "crystals" / name, ignore=shutil.ignore_patterns("dos.json"))
    table = pd.read_csv(demo / "properties.csv")
    table[table["material_id"].isin(CRYSTALS)].to_csv(folder / "crystals/properties.csv", index=False)
    study = load_study(
        STUDY
        | {
            "source": {"path": str(folder / "crystals")},
            "language": {"backbone": str(tiny_encoder), "weights": "random", "max_tokens": 12},
            "models": ["image", "text", "fusion", "clip"],
            "clip": {"model": str(write_tiny_clip(folder / "clip")), "weights": "random"},
            "shards": 1,
            "targets": ["k_vrh"],
        }
    )
    root = folder / "results" / "small"
    make_data(study, root)
    for model, level in (("image", "none"), ("text", "formula"), ("fusion", "formula"), ("clip", "formula")):
        runs = [(fold, 0) for fold in range(2)]
        scratch = folder / "scratch"
        train_job(
            study, root=root, scratch=scratch, model=model, target="k_vrh", level=level, runs=runs, frozen=False
        )
    write_provenance(root, root / "provenance/provenance.json", study=study, code=Code("0.1.0", "0" * 16, None))
    return root


def make_data(study: Study, root: Path) -> None:
    """Run every stage before the trainings."""
    catalog, shape = root / "catalog/materials.parquet", study.grid.shape
    cache = root / "cache.json"
    write_catalog(study.source, catalog, root / "catalog/rejected.json", n_shards=1, cache=cache)  # type: ignore[arg-type]
    write_plan(catalog, root / "plan", 1)
    ingest_shard(
        root / "plan/0000.json",
        root / ARCHIVE,
        field="total",
        raw="native",
        shape=shape,
        scratch=root / "scratch",
        connections=1,
        keep=None,
    )
    grid_shard(root / ARCHIVE, root / "grids/0000.zarr.zip", field="total", shape=shape)
    slice_shard(root / ARCHIVE, root / "slices/0000.npz", field="total", options=study.slices, shape=shape)
    with fallback_texts():
        describe_shard(root / ARCHIVE, root / "text/0000.jsonl", timeout_s=10)
    write_clean(root, study.clean, study.targets)
    write_splits(root, study.splits)
    write_views(root, targets=study.targets, levels=("none", "formula"), folds=2)


@pytest.fixture(scope="session")
def fusion(finished: Path) -> Ensemble:
    return read_study(finished, model="fusion")


@pytest.fixture(scope="session")
def image(finished: Path) -> Ensemble:
    return read_study(finished, model="image")


@pytest.fixture(scope="session")
def whole_export(fusion: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported fusion networks, to be read only."""
    folder = tmp_path_factory.mktemp("export") / "fusion"
    export_model(fusion, folder)
    return folder


@pytest.fixture
def exported(whole_export: Path, tmp_path: Path) -> Path:
    """A copy of the exported folder, elsewhere, to damage at will."""
    return shutil.copytree(whole_export, tmp_path / "moved")
