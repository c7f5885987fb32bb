"""Names of the files that the report room writes; light, because the Snakefile asks for them."""

from __future__ import annotations

from rhoflow.config import Study

TABLE_NAMES = ("results.csv", "results.md", "results.tex", "results.txt")
FIGURE_INDEX = "figures.json"


def figure_names(study: Study) -> list[str]:
    """Names of the figures of a study, without suffix; each is drawn as PNG and SVG."""
    kinds = ["parity", *(["learning"] if study.models else []), "distribution"]
    return ["overview", *(f"{kind}_{target}" for target in study.targets for kind in kinds), "slices"]
