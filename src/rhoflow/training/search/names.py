"""Files of the search, and what it depends on; light, because the Snakefile asks."""

from __future__ import annotations

TABLE = ("search.csv", "search.md")
# Sections that every search needs, beside its network's: `models` and `fusion` say which networks the study has.
SECTIONS = ("search", "models", "fusion", "two_part", "training", "properties", "splits", "seeds")


def chosen_file(model: str, target: str, level: str, fold: int | str) -> str:
    """File of what was chosen for the runs of a series in a fold, below the result folder."""
    return f"search/{model}/{target}/{level}/fold{fold}.json"
