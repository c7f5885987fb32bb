"""What a search chose, as the trainings read it."""

from __future__ import annotations

from pathlib import Path

from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.training.search.names import chosen_file


def chosen_values(root: Path, model: str, target: str, level: str, fold: int) -> dict[str, float]:
    """Read the settings that a search chose for the runs of a series in a fold.

    Raises
    ------
    StudyError
        If that search has not run.
    """
    file = root / chosen_file(model, target, level, fold)
    if not file.is_file():
        raise StudyError(f"{file} is missing: the search comes first; make it with snakemake {file}")
    values: dict[str, float] = read_json(file)["values"]
    return values
