"""Other images of the same crystals in the workflow: who makes them, and what reruns when one of them changes."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from small_study import STUDY, Workspace

SHARDS = [f"{shard:04d}" for shard in range(STUDY["shards"])]
IMAGES: dict[str, Any] = {"three": {"slices": {"planes": 3}}, "wide": {"slices": {"window": {"cells": 16}}}}
ABLATION: dict[str, Any] = {"images": IMAGES, "models": ["image"], "targets": ["k_vrh"]}
RUN = "results/small/runs/image-{}/k_vrh/none/fold0/seed0/predictions.parquet"


@pytest.fixture(scope="module")
def grown(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished small study, which now asks for other images too."""
    folder = tmp_path_factory.mktemp("grown") / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    workspace = Workspace(folder, finished.project)
    workspace.configure(ablation=ABLATION)
    return workspace


def _jobs(*names: str) -> list[str]:
    cut = [f"images/{name}/{shard}" for name in names for shard in SHARDS]
    trained = [f"image-{name}/k_vrh.none" for name in names]
    # They take disk, so the plan is made again; and with a plan what gathers all shards.
    return sorted([*cut, *trained, "baseline-variants/k_vrh", "clean", "leakage", "plan", "splits", "views"])


def _views(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((workspace.root / "views").iterdir())}


def _arrays(workspace: Workspace, folder: str) -> dict[str, np.ndarray]:
    with np.load(workspace.root / folder / f"{SHARDS[0]}.npz") as store:
        return dict(store)


@pytest.mark.slow
def test_other_images_rerun_nothing_of_the_study_and_a_change_only_theirs(grown: Workspace) -> None:
    before = _views(grown)
    assert grown.plan().jobs == _jobs("three", "wide")
    first = _views(grown)
    assert {name: first[name] for name in before} == before
    assert first.keys() - before.keys() == {
        f"{target}.none-{name}.{fold}.json"
        for target in ("k_vrh", "formation_energy_per_atom")
        for name in IMAGES
        for fold in range(2)
    }
    for name, shape in {"three": (3, 32, 32), "wide": (32, 32)}.items():
        own, other = (_arrays(grown, folder) for folder in ("slices", f"images/{name}"))
        assert other["ids"].tolist() == own["ids"].tolist()
        assert other["image"].shape[1:] == shape
        assert np.allclose(other["side"], own["side"] * (2 if name == "wide" else 1))

    trained = grown.run("--", *(RUN.format(name) for name in IMAGES)).trainings
    assert trained == ["image-three/k_vrh.none", "image-wide/k_vrh.none"]
    grown.configure(ablation=ABLATION | {"images": IMAGES | {"wide": {"slices": {"window": {"cells": 12}}}}})
    assert grown.plan().jobs == _jobs("wide")
    second = _views(grown)
    assert {name for name in first if first[name] != second[name]} == {name for name in first if "none-wide" in name}
