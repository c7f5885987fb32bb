"""Files of the search; light, because the Snakefile asks."""

from __future__ import annotations

TABLE = ("search.csv", "search.md")


def chosen_file(model: str, target: str, level: str, fold: int | str) -> str:
    """File of what was chosen for the runs of a series in a fold, below the result folder."""
    return f"search/{model}/{target}/{level}/fold{fold}.json"
