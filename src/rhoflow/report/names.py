"""Names of the files that the report room writes; light, because the Snakefile asks for them."""

from __future__ import annotations

from rhoflow.config import Study
from rhoflow.report.labels import zero_of
from rhoflow.training.names import baseline_kinds, llm_kinds, network_kinds

FIGURE_INDEX = "figures.json"
SALIENCY = "saliency"  # a figure of its own rule, with its own index: it needs torch
SALIENCY_INDEX = "saliency.json"
# Kinds of figures: one a target, and one a study; a study has those of which it has the data.
PER_TARGET = ("parity", "residuals", "curves", "ablation", "learning", "distribution")
WHOLE = ("overview", "creation", "slices", "heights", SALIENCY, "elements")
# Tables by name, with their formats; <name>_tests: the tests behind the sentences of a table.
TABLES = {
    "results": ("csv", "md", "tex", "txt"),
    "errors": ("md", "tex"),
    "folds": ("csv",),
    "comparisons": ("csv", "md", "tex"),
    "ensemble": ("csv", "md"),
    "ensemble_tests": ("csv",),
    "zeros": ("csv", "md"),
    "published": ("csv", "md"),
    "stages": ("csv", "md", "tex"),
    "stages_tests": ("csv",),
    "clip_trials": ("csv", "md", "tex"),
    "clip_trials_tests": ("csv",),
    "v1_levels": ("csv", "md", "tex"),
    "v1_levels_tests": ("csv",),
    "v1_stages": ("csv", "md", "tex"),
    "ablation": ("csv", "md", "tex"),
    "fourier": ("csv", "md", "tex"),
    "curves": ("csv", "md", "tex"),
    "curves_tests": ("csv",),
}


def table_names(study: Study) -> list[str]:
    """Names of the files in ``tables/`` of a study: those of which it has series."""
    return [f"{name}.{suffix}" for name in TABLES if _has(study, name) for suffix in TABLES[name]]


def _has(study: Study, table: str) -> bool:
    ablation = study.ablation
    needed = {
        "zeros": any(zero_of(target) for target in study.targets),
        "stages": "fusion" in study.models,
        "v1_levels": "fusion" in study.models,
        "v1_stages": "fusion" in study.models,
        "clip_trials": "clip" in study.models,
        "ablation": bool(ablation.random or ablation.side or ablation.shuffled or ablation.images),
        "fourier": bool(fourier_images(study)),
        "curves": bool(ablation.fractions),
    }
    return needed.get(table.removesuffix("_tests"), True)


def fourier_images(study: Study) -> list[str]:
    """Names of other images that show Fourier magnitudes where the study's own show the density."""
    if study.slices.content == "fourier":
        return []
    return [name for name, images in study.ablation.images.items() if images.over(study.slices).content == "fourier"]


def asked_kinds(study: Study) -> list[tuple[str, str]]:
    """(llm, level) of the language model's series; none in a dry run, which asks nothing."""
    return [] if study.llm.dry_run else llm_kinds(study.models, study.llm.levels)


def run_kinds(study: Study) -> list[tuple[str, str]]:
    """(model, level) of all series that a study's results are made of."""
    return [*network_kinds(study), *asked_kinds(study), *baseline_kinds(study)]


def figure_names(study: Study) -> list[str]:
    """Names of the figures of a study, without suffix, in their order; each is drawn as PNG and SVG.

    The saliency is not among them: see `has_saliency`.
    """
    changed = study.ablation.targets or study.targets
    there = {
        "curves": changed if _has(study, "curves") else (),
        "ablation": changed if _has(study, "ablation") else (),
        "learning": study.targets if network_kinds(study) else (),
    }
    per_target = [
        f"{kind}_{target}"
        for target in study.targets
        for kind in PER_TARGET
        if target in there.get(kind, study.targets)
    ]
    return ["overview", *per_target, *(kind for kind in WHOLE if kind not in ("overview", SALIENCY))]


def has_saliency(study: Study) -> bool:
    """Whether a study has the figure that needs a trained image network."""
    return "image" in study.models
