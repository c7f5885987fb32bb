"""Names of the files that the report room writes; light, because the Snakefile asks for them."""

from __future__ import annotations

from rhoflow.config import Study
from rhoflow.report.labels import ZEROS
from rhoflow.training.names import baseline_kinds, llm_kinds, network_kinds

FIGURE_INDEX = "figures.json"
# Tables by name, with their formats; `zeros` is there for a target that has them.
TABLES = {
    "results": ("csv", "md", "tex", "txt"),
    "comparisons": ("csv", "md", "tex"),
    "ensemble": ("csv", "md"),
    "zeros": ("csv", "md"),
    "published": ("csv", "md"),
}


def table_names(study: Study) -> list[str]:
    """Names of the files in ``tables/`` of a study."""
    there = [name for name in TABLES if name != "zeros" or any(target in ZEROS for target in study.targets)]
    return [f"{name}.{suffix}" for name in there for suffix in TABLES[name]]


def asked_kinds(study: Study) -> list[tuple[str, str]]:
    """(llm, level) of the language model's series; none in a dry run, which asks nothing."""
    return [] if study.llm.dry_run else llm_kinds(study.models, study.llm.levels)


def run_kinds(study: Study) -> list[tuple[str, str]]:
    """(model, level) of all series that a study's results are made of."""
    return [*network_kinds(study), *asked_kinds(study), *baseline_kinds(study)]


def figure_names(study: Study) -> list[str]:
    """Names of the figures of a study, without suffix; each is drawn as PNG and SVG."""
    kinds = ["parity", *(["learning"] if network_kinds(study) else []), "distribution"]
    return ["overview", *(f"{kind}_{target}" for target in study.targets for kind in kinds), "slices"]
