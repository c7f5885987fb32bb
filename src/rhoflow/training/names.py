"""Which models there are, at which levels each runs, and the files of a run; light, because the Snakefile asks.

A series is a model at a level. Its name may say what is changed in it, ``<model>-<variant>`` (docs/ablation.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rhoflow.config import KNOWN_NETWORKS, Study, near
from rhoflow.dataset.names import DENSITY, NO_TEXT, STRUCTURE, image_level
from rhoflow.errors import StudyError
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
NETWORK_LEVELS: dict[str, str] = {
    name: EVERY_TEXT if "text" in network.reads else NO_TEXT for name, network in KNOWN_NETWORKS.items()
}
BASELINE_LEVELS = {
    "mean": NO_TEXT,
    "magpie-forest": NO_TEXT,
    "quantiles-ridge": DENSITY,
    "quantiles-boosting": DENSITY,
    "pixels-ridge": NO_TEXT,
    "tfidf-ridge": EVERY_TEXT,
    "chgnet-ridge": STRUCTURE,
}
# Those that run only where the study asks for them.
OPTIONAL_BASELINES = ("chgnet-ridge",)

# Trained on every partition of ``splits.repeats``, their variants too. Where the study has one of them, the baselines
# are fitted on every partition, but not their variants; the rest runs on the first.
REPEATED = tuple(name for name, network in KNOWN_NETWORKS.items() if network.repeated)

# Variants: random initial weights, amplitude and lattice constant beside the image, and inputs dealt out anew. Others
# go by a number, f<share> of the training part, or by the name of other images.
RANDOM = "random"
SIDE = "side"
SHUFFLED = {"shuffled-image": "image", "shuffled-text": "text"}
# Which models read an input, hence have variants that change it.
READERS = {
    what: (*(name for name, network in KNOWN_NETWORKS.items() if what in network.reads), baseline)
    for what, baseline in (("image", "pixels-ridge"), ("text", "tfidf-ridge"))
}


def base_of(model: str) -> tuple[str, str]:
    """Model that a series is one of, and what is changed in it: ``("image", "f25")`` of ``image-f25``, else "".

    Raises
    ------
    StudyError
        If no known model's name begins so.
    """
    bases = (*NETWORK_LEVELS, *BASELINE_LEVELS, LLM)
    for base in sorted(bases, key=len, reverse=True):
        if model == base or model.startswith(f"{base}-"):
            return base, model[len(base) + 1 :]
    raise StudyError(f"model {model!r} is none of {', '.join(bases)} and no variant of one{near(model, bases)}")


def fraction_of(variant: str) -> int | None:
    """Share of the training part [%] in a learning curve's variant, ``f25``; None of any other."""
    return int(variant[1:]) if re.fullmatch(r"f\d+", variant) else None


def shuffled_input(variant: str) -> str | None:
    """Input that is dealt out anew in a control, ``image`` or ``text``; None in any other variant."""
    return SHUFFLED.get(variant)


def other_images(variant: str) -> str | None:
    """Name of the images that a variant sees in place of the study's (``ablation.images``); None of any other."""
    fixed = variant in ("", RANDOM, SIDE, *SHUFFLED) or fraction_of(variant) is not None
    return None if fixed else variant


def view_level(model: str, level: str) -> str:
    """Level of the view that a series sees where its base sees `level`: other images have views of their own."""
    images = other_images(base_of(model)[1])
    return image_level(images) if images and level == NO_TEXT else level


def parent_of(model: str, parent: str) -> str:
    """Series of `parent` that a series is built on: what is changed in it as well, where that concerns it.

    ``fusion-shuffled-image`` is built on ``image-shuffled-image`` and on plain ``text``.
    """
    variant = base_of(model)[1]
    reads = "image" if variant == SIDE or other_images(variant) else shuffled_input(variant)
    concerned = variant and (reads is None or parent in READERS[reads])
    return f"{parent}-{variant}" if concerned else parent


def run_level(network: str, level: str) -> str:
    """Level in the path of a network's run: `none` for a network that reads no text."""
    return level if NETWORK_LEVELS[network] == EVERY_TEXT else NO_TEXT


def parents(study: Study, network: str) -> list[str]:
    """Networks that one is built on in a study."""
    return [parent for parent in KNOWN_NETWORKS[network].parents if parent in study.fusion.parents]


def variants_of(study: Study, base: str) -> list[str]:
    """List what is changed in the further series of a model that the study asks for (section ``ablation``)."""
    ablation = study.ablation
    variants = [name for name, asked in ((RANDOM, ablation.random), (SIDE, ablation.side)) if base in asked]
    if base in NETWORK_LEVELS and base not in (ablation.models or study.models):
        return variants
    shuffled = [name for name, reads in SHUFFLED.items() if reads in ablation.shuffled and base in READERS[reads]]
    images = ablation.images if base in READERS["image"] else ()
    return [*variants, *(f"f{share}" for share in ablation.fractions), *shuffled, *images]


def series_targets(study: Study, model: str) -> tuple[str, ...]:
    """Targets that a series is trained for: all of the study, or those of ``ablation.targets`` for a variant."""
    return study.ablation.targets or study.targets if base_of(model)[1] else study.targets


def series_folds(study: Study, model: str) -> range:
    """Fold indices that a series is trained on: those of the first partition, or of all."""
    base, variant = base_of(model)
    beside = base in BASELINE_LEVELS and not variant and not set(REPEATED).isdisjoint(study.models)
    return study.splits.indices if beside or base in REPEATED else range(study.splits.folds)


def network_kinds(study: Study) -> list[tuple[str, str]]:
    """(network, level) of all series of the study's networks, the plain ones first."""
    return _with_variants(study, {name: NETWORK_LEVELS[name] for name in study.models if name != LLM})


def network_runs(study: Study) -> dict[str, int]:
    """Count the runs of each network and of its variants: targets, folds and seeds of all their series."""
    runs: dict[str, int] = {}
    for model, _ in network_kinds(study):
        n = len(series_targets(study, model)) * len(series_folds(study, model)) * len(study.seeds)
        base = base_of(model)[0]
        runs[base] = runs.get(base, 0) + n
    return runs


def baseline_kinds(study: Study) -> list[tuple[str, str]]:
    """(baseline, level) of all series of all baselines, the plain ones first."""
    left_out = set(OPTIONAL_BASELINES).difference(study.baselines)
    return _with_variants(study, {name: level for name, level in BASELINE_LEVELS.items() if name not in left_out})


def plain_kinds(kinds: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of some (model, level) in which nothing is changed."""
    return [(model, level) for model, level in kinds if not base_of(model)[1]]


def llm_kinds(models: Sequence[str], llm_levels: Sequence[str]) -> list[tuple[str, str]]:
    """(llm, level) of all series of the language model; none where it is not among the models."""
    return _kinds({name: EVERY_TEXT for name in models if name == LLM}, llm_levels)


def estimate_file(target: str, level: str) -> str:
    """Cost estimate of the language model, below the result folder."""
    return f"llm/{target}.{level}.json"


def _with_variants(study: Study, seen: Mapping[str, str]) -> list[tuple[str, str]]:
    kinds = _kinds(seen, study.levels)
    for base in seen:
        for variant in variants_of(study, base):
            kinds += _kinds({f"{base}-{variant}": seen[base]}, _variant_levels(study, variant))
    return kinds


def _variant_levels(study: Study, variant: str) -> Sequence[str]:
    """Text levels of a variant: a twin has all of the study's, any other one, if nothing else is asked for."""
    ablation = study.ablation
    if variant == RANDOM:
        return ablation.random_levels or study.levels
    return ablation.levels or study.levels[:1]


def _kinds(seen: Mapping[str, str], text_levels: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, level) for name, sees in seen.items() for level in (text_levels if sees == EVERY_TEXT else [sees])]
