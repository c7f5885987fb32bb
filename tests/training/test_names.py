"""The names that the Snakefile reads agree with the registries, which are too heavy for it."""

from __future__ import annotations

import subprocess
import sys

from rhoflow.models.networks import NETWORKS
from rhoflow.training.names import BASELINE_LEVELS, NETWORK_LEVELS, baseline_kinds, network_kinds
from rhoflow.training.pack import run_level

LEVELS = ("formula", "all")


def test_names_are_light_to_import() -> None:
    heavy = "{'sklearn', 'matminer', 'pandas', 'numpy', 'torch', 'pyarrow'}"
    code = f"import sys, rhoflow.training.names; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_networks_and_their_levels_are_those_of_the_registry() -> None:
    assert set(NETWORK_LEVELS) == set(NETWORKS)
    for name, level in network_kinds(list(NETWORKS), LEVELS):
        assert run_level(name, level) == level


def test_a_model_on_text_runs_at_every_level_and_the_others_once() -> None:
    assert network_kinds(("text", "image"), LEVELS) == [("text", "formula"), ("text", "all"), ("image", "none")]
    assert baseline_kinds(LEVELS)[-2:] == [("tfidf-ridge", "formula"), ("tfidf-ridge", "all")]
    assert len(baseline_kinds(LEVELS)) == len(BASELINE_LEVELS) + 1
