"""Names and numbers as readers see them: models, levels, units, rounded values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rhoflow.config import KNOWN_NETWORKS
from rhoflow.dataset.names import LEVELS, TEXT_LEVELS
from rhoflow.properties import PROPERTIES, ZERO_UP_TO
from rhoflow.training.names import RANDOM, SIDE, base_of, fraction_of, other_images

NETWORKS: dict[str, str] = {name: network.label for name, network in KNOWN_NETWORKS.items()}
IN_CONTEXT = {"llm": "Language model in context"}
BASELINES = {
    "mean": "Mean predictor",
    "magpie-forest": "Composition + random forest",
    "quantiles-ridge": "Density quantiles + ridge",
    "quantiles-boosting": "Density quantiles + boosting",
    "pixels-ridge": "Image pixels + ridge",
    "tfidf-ridge": "Text TF-IDF + ridge",
    "chgnet-ridge": "CHGNet embedding + ridge",
}
FIELDS = {
    "total": "valence electron density",
    "spin": "spin density",
    "deformation": "deformation density (valence electrons minus free atoms)",
    "all_electron": "all-electron density",
}
DASH = "–"
TESTED = "differences are tested in the table of comparisons"  # for captions of tables without a test of their own
# Kinds of models, in the order of the tables.
GROUPS = {"network": "Networks", "llm": "Language model", "baseline": "Baselines"}
# What is resampled for an interval, by strategy of the splits.
RESAMPLED = {
    "random": "test crystals",
    "composition": "compositions of the test crystals",
    "prototype": "structure prototypes of the test crystals",
    "cluster": "clusters of like compositions of the test crystals",
    "element": "held-out elements of the test crystals",
}
PROTOTYPES = {
    "A_225_a": "fcc",
    "A_227_a": "diamond",
    "AB_225_a_b": "rocksalt",
    "AB_216_a_c": "zincblende",
    "AB_227_a_b": "B32",
    "AB2_225_a_c": "fluorite",
    "AB3_225_a_bc": "D0₃",
    "ABC2_225_a_b_c": "Heusler",
    "ABC2_216_a_c_bd": "inverse Heusler",
    "ABC_216_a_b_c": "half-Heusler",
}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_PRETTY = (("A^3", "Å³"), ("cm^3", "cm³"), ("m^2", "m²"), ("mu_B", "μB"))


@dataclass(frozen=True)
class Zero:
    """What counts as zero of a target.

    Attributes
    ----------
    threshold : float
        Largest magnitude that does, in the target's unit: below what a calculation resolves.
    zero, other : str
        What the two kinds of crystals are called.
    """

    threshold: float
    zero: str
    other: str


# What the two kinds of crystals are called, of targets that are zero for many of them.
_KINDS = {
    "band_gap": ("metals", "non-metals"),
    "total_magnetization": ("non-magnetic crystals", "magnetic crystals"),
}


def zero_of(target: str) -> Zero | None:
    """Return what counts as zero of a target; None for one that is not known to be zero for many materials."""
    if target not in ZERO_UP_TO:
        return None
    return Zero(ZERO_UP_TO[target], *_KINDS.get(target, ("crystals at zero", "other crystals")))


def is_network(model: str) -> bool:
    """Whether a model, or what it is a variant of, is a network."""
    return base_of(model)[0] in NETWORKS


def group_of(model: str) -> str:
    """Kind of a model, a key of `GROUPS`: what is neither a network nor the language model is a baseline."""
    if is_network(model):
        return "network"
    return "llm" if base_of(model)[0] in IN_CONTEXT else "baseline"


def model_label(model: str) -> str:
    """Name of a model in tables, e.g. ``Image network, random weights``."""
    base, variant = base_of(model)
    name = (NETWORKS | IN_CONTEXT | BASELINES)[base]
    return f"{name}, {variant_label(variant)}" if variant else name


def variant_label(variant: str) -> str:
    """Say what is changed in a variant of a model."""
    if share := fraction_of(variant):
        return f"{share} % of the training part"
    if name := other_images(variant):
        return f"images {name}"
    named = {RANDOM: "random weights", SIDE: "amplitude and lattice constant beside the image"}
    return named.get(variant) or f"{variant.replace('-', ' ')}s"


def series_label(model: str, level: str) -> str:
    """Name of a model with its text level, e.g. ``Text network (keywords)``."""
    return f"{model_label(model)} ({level})" if level in TEXT_LEVELS else model_label(model)


def level_cell(level: str) -> str:
    """Text level in a table's cell; a dash for a model that reads no text."""
    return level if level in TEXT_LEVELS else DASH


def order(model: str, level: str) -> tuple[int, str, int, str]:
    """Sort key: networks, the language model, baselines, each in the order of their tables."""
    rank = [*NETWORKS, *IN_CONTEXT, *BASELINES].index(base_of(model)[0])
    return rank, model, LEVELS.index(level) if level in LEVELS else len(LEVELS), level


def target_label(target: str) -> str:
    """Name of a property, e.g. ``bulk modulus``."""
    return PROPERTIES[target].label


def unit_label(target: str) -> str:
    """House unit of a property for readers, e.g. ``Å³``; empty if dimensionless."""
    unit = PROPERTIES[target].unit
    if unit == "A":
        return "Å"
    for plain, pretty in _PRETTY:
        unit = unit.replace(plain, pretty)
    return unit


def unit_after(target: str) -> str:
    """Give the unit of a property as it stands behind a name, e.g. `` [GPa]``; empty if dimensionless."""
    unit = unit_label(target)
    return f" [{unit}]" if unit else ""


def axis_label(target: str) -> str:
    """Name and unit of a property, e.g. ``bulk modulus [GPa]``."""
    return target_label(target) + unit_after(target)


def number(value: float, decimals: int) -> str:
    """Round a value and give it a true minus sign; a dash where there is none."""
    if not math.isfinite(value):
        return DASH
    rounded = f"{value:.{decimals}f}"
    if float(rounded) == 0:
        rounded = rounded.removeprefix("-")
    return rounded.replace("-", "−")


def printed(value: float) -> str:
    """Show a published number as it was printed, but for zeros at its end; a dash where there is none."""
    return f"{value:g}".replace("-", "−") if math.isfinite(value) else DASH


def spread(mean: float, sd: float, decimals: int) -> str:
    """``mean ± sd``; the mean alone where there is no spread (a single run)."""
    text = number(mean, decimals)
    return f"{text} ± {number(sd, decimals)}" if math.isfinite(mean) and math.isfinite(sd) else text


def interval(low: float, high: float, decimals: int) -> str:
    """``[low, high]``, or a dash."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def counted(n: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def span(low: float, high: float) -> str:
    """``7`` or ``6–7`` for whole numbers."""
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


def decimals_for(value: float) -> int:
    """Decimals that show three digits of a value (none to four)."""
    if not math.isfinite(value) or value == 0:
        return 2
    return min(4, max(0, 2 - math.floor(math.log10(abs(value)))))


def formula_label(formula: str) -> str:
    """Set the digits of a formula as subscripts, e.g. ``CaF₂``."""
    return formula.translate(_SUBSCRIPTS)


def prototype_label(prototype: str) -> str:
    """Return the common name of a prototype label such as ``AB_225_a_b``; the label itself where it has none."""
    return PROTOTYPES.get(prototype, prototype)
