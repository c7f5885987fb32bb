"""Which models there are, at which levels each runs, and the files of a run; light, because the Snakefile asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rhoflow.dataset.names import DENSITY, NO_TEXT
from rhoflow.models.names import WEIGHTS

METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
PROVENANCE = "run.prov.json"
HISTORY = "history.csv"
RUN_FILES = (METRICS, PREDICTIONS, PROVENANCE)
NETWORK_FILES = (*RUN_FILES, WEIGHTS, HISTORY)

LLM = "llm"  # the language model in context
ANSWERS = "llm/answers"

EVERY_TEXT = "text"  # of every text level in turn
# What each model sees: the view of that level.
NETWORK_LEVELS = {"image": NO_TEXT, "text": EVERY_TEXT, "fusion": EVERY_TEXT}
BASELINE_LEVELS = {
    "mean": NO_TEXT,
    "magpie-forest": NO_TEXT,
    "quantiles-ridge": DENSITY,
    "quantiles-boosting": DENSITY,
    "pixels-ridge": NO_TEXT,
    "tfidf-ridge": EVERY_TEXT,
}


def network_kinds(models: Sequence[str], text_levels: Sequence[str]) -> list[tuple[str, str]]:
    """(network, level) of all series of those models that are networks."""
    return _kinds({name: NETWORK_LEVELS[name] for name in models if name != LLM}, text_levels)


def baseline_kinds(text_levels: Sequence[str]) -> list[tuple[str, str]]:
    """(baseline, level) of all series of all baselines."""
    return _kinds(BASELINE_LEVELS, text_levels)


def llm_kinds(models: Sequence[str], llm_levels: Sequence[str]) -> list[tuple[str, str]]:
    """(llm, level) of all series of the language model; none where it is not among the models."""
    return _kinds({name: EVERY_TEXT for name in models if name == LLM}, llm_levels)


def estimate_file(target: str, level: str) -> str:
    """Cost estimate of the language model, below the result folder."""
    return f"llm/{target}.{level}.json"


def _kinds(seen: Mapping[str, str], text_levels: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, level) for name, sees in seen.items() for level in (text_levels if sees == EVERY_TEXT else [sees])]
