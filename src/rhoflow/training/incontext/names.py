"""Names of the language model's runs and files; light, because the Snakefile asks."""

from __future__ import annotations

from collections.abc import Sequence

MODEL = "llm"
ANSWERS = "llm/answers"


def incontext_kinds(models: Sequence[str], levels: Sequence[str]) -> list[tuple[str, str]]:
    """(model, level) of all series of the language model; none where the study has none."""
    return [(MODEL, level) for level in levels] if MODEL in models else []


def estimate_file(target: str, level: str) -> str:
    """File of the cost estimate below the result folder, e.g. ``llm/k_vrh.formula.json``."""
    return f"llm/{target}.{level}.json"
