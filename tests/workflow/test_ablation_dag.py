"""Variants in the workflow: a study asks for exactly the series that its section `ablation` names, each once."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_study import CRYSTALS, Workspace, add_crystal

ABLATION: dict[str, Any] = {
    "random": ["image", "text", "fusion"],
    "fractions": [50, 75],
    "shuffled": ["image", "text"],
    "levels": ["formula"],
    "targets": ["k_vrh"],
}
CHANGED = {
    "image": ("random", "f50", "f75", "shuffled-image"),
    "text": ("random", "f50", "f75", "shuffled-text"),
    "fusion": ("random", "f50", "f75", "shuffled-image", "shuffled-text"),
}


def _fresh(folder: Path, project: Path, demo: Path, tiny_encoder: Path) -> Workspace:
    """The small study, before anything has run."""
    workspace = Workspace(folder, project)
    for name in CRYSTALS:
        add_crystal(folder, demo, name)
    table = pd.read_csv(demo / "properties.csv")
    workspace.properties = table[table.material_id.isin(CRYSTALS)]
    shutil.copytree(tiny_encoder, folder / "encoder")
    return workspace


@dataclass
class Graph:
    """Jobs as ``rule wildcard=value ...`` by number, and which waits for which."""

    jobs: dict[str, str]
    edges: list[tuple[str, str]]

    @classmethod
    def of(cls, workspace: Workspace) -> Graph:
        dot = workspace.run("--dag").output
        labels = dict(re.findall(r'(\d+)\[label = "(.*?)"', dot))
        jobs = {number: label.replace(": ", "=").replace("\\n", " ") for number, label in labels.items()}
        return cls(jobs, re.findall(r"(\d+) -> (\d+)", dot))

    def models(self, of: str = "") -> Counter[str]:
        """Series of networks that are trained, or those that the training of a series waits for."""
        found = {number: re.search(r"model=(\S+)", job) for number, job in self.jobs.items()}
        series = {number: model[1] for number, model in found.items() if model}
        if not of:
            return Counter(series.values())
        return Counter(series[needed] for needed, by in self.edges if series.get(by) == of and needed in series)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, project: Path, demo: Path, tiny_encoder: Path) -> Graph:
    """The jobs of the small study with variants, before anything has run."""
    workspace = _fresh(tmp_path_factory.mktemp("fresh"), project, demo, tiny_encoder)
    workspace.configure(levels=["formula", "all"], ablation=ABLATION)
    return Graph.of(workspace)


def test_study_with_ablation_trains_exactly_what_it_names_and_nothing_twice(graph: Graph) -> None:
    plain = {"image": 2, "text": 2 * 2, "fusion": 2 * 2}  # targets, levels
    changed = {f"{model}-{variant}": 1 for model, variants in CHANGED.items() for variant in variants}
    twins = {"text-random": 2, "fusion-random": 2}  # at both levels
    assert graph.models() == Counter(plain | changed | twins)
    assert sorted(job for job in graph.jobs.values() if job.startswith("baseline")) == [
        "baseline_variants target=k_vrh",
        "baselines target=formation_energy_per_atom",
        "baselines target=k_vrh",
    ]


@pytest.mark.parametrize(
    ("variant", "image", "text"),
    [
        ("random", "image-random", "text-random"),
        ("f50", "image-f50", "text-f50"),
        ("f75", "image-f75", "text-f75"),
        ("shuffled-image", "image-shuffled-image", "text"),
        ("shuffled-text", "image", "text-shuffled-text"),
    ],
)
def test_fusion_waits_for_the_runs_that_share_its_change(graph: Graph, variant: str, image: str, text: str) -> None:
    levels = 2 if variant == "random" else 1
    assert graph.models(of=f"fusion-{variant}") == Counter({image: levels, text: levels})


def test_study_without_ablation_has_no_variant(tmp_path: Path, project: Path, demo: Path, tiny_encoder: Path) -> None:
    workspace = _fresh(tmp_path, project, demo, tiny_encoder)
    workspace.configure()
    assert set(Graph.of(workspace).models()) == {"image", "text", "fusion"}


@pytest.fixture(scope="module")
def grown(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished small study, which now asks for variants too."""
    folder = tmp_path_factory.mktemp("grown") / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    workspace = Workspace(folder, finished.project)
    workspace.configure(ablation=ABLATION)
    return workspace


def test_variants_of_a_finished_study_rerun_nothing_of_it(grown: Workspace) -> None:
    planned = grown.plan()
    assert planned.jobs == sorted(
        [
            "baseline-variants/k_vrh",
            *(
                f"{model}-{variant}/k_vrh.{'none' if model == 'image' else 'formula'}"
                for model, variants in CHANGED.items()
                for variant in variants
            ),
        ]
    )


@pytest.mark.slow
def test_control_of_fusion_is_trained_on_the_same_parts_with_its_parent_alone(grown: Workspace) -> None:
    runs = "results/small/runs/{}/k_vrh/{}/fold0/seed0/predictions.parquet"
    control = runs.format("fusion-shuffled-image", "formula")
    ran = grown.run("--", control)
    assert ran.trainings == ["fusion-shuffled-image/k_vrh.formula", "image-shuffled-image/k_vrh.none"]
    columns = ["material_id", "part", "y_true"]
    plain, changed = (pd.read_parquet(grown.folder / path) for path in (runs.format("fusion", "formula"), control))
    pd.testing.assert_frame_equal(changed[columns], plain[columns])
    assert not np.allclose(changed["y_pred"], plain["y_pred"])


@pytest.mark.slow
def test_every_kind_of_variant_runs_to_the_report(grown: Workspace) -> None:
    grown.run()
    runs = grown.root / "runs"
    for model, variants in CHANGED.items():
        for variant in ("", *(f"-{variant}" for variant in variants)):
            level = "none" if model == "image" else "formula"
            for fold in (0, 1):
                assert (runs / f"{model}{variant}" / "k_vrh" / level / f"fold{fold}/seed0/metrics.json").exists()
    assert (grown.root / "report.html").exists()
    assert grown.run().jobs == []
