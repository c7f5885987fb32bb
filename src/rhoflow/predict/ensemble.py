"""What an ensemble of networks says about new crystals: mean, spread over the runs, interval, or why nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rhoflow.config import KNOWN_NETWORKS, Section, Study
from rhoflow.errors import StudyError
from rhoflow.models.networks import NETWORKS, Network, load_state
from rhoflow.models.weights import RANDOM
from rhoflow.predict.card import Card
from rhoflow.predict.checks import Checks
from rhoflow.predict.crystals import NewCrystal, read_crystals
from rhoflow.training.engine import reproducible, seed_torch


@dataclass(frozen=True)
class Ensemble:
    """The runs of one model, target and level.

    Attributes
    ----------
    card : Card
        All that is known of them.
    study : Study
        ``card.study``, with the text encoder's files where they lie on this machine.
    folder : Path
        Paths of the card start here.
    """

    card: Card
    study: Study
    folder: Path


@dataclass(frozen=True)
class Prediction:
    """What the ensemble says about one density file; numbers in `unit`.

    Attributes
    ----------
    file : str
        The density file, as it was given.
    formula : str or None
        Reduced formula; None if the file could not be read.
    mean, sd : float or None
        Over the runs (sample standard deviation, None for one run); None where nothing is predicted.
    low, high : float or None
        Split-conformal 90 % interval; None with fewer than 9 validation materials.
    n_runs : int
        Networks that predicted.
    refused : str or None
        Why nothing is predicted.
    warnings : tuple of str
        What was overridden by `force`, and what could not be checked.
    """

    file: str
    formula: str | None
    unit: str
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    n_runs: int = 0
    refused: str | None = None
    warnings: tuple[str, ...] = ()


def predict(
    ensemble: Ensemble, densities: Sequence[Path], *, structures: Sequence[Path] = (), force: bool = False
) -> list[Prediction]:
    """Predict new crystals by all runs of an ensemble, each crystal by itself, in the order given.

    Parameters
    ----------
    densities : sequence of Path
        CHGCAR, CHG, cube or MP object, plain or compressed; AECCARs and run files are looked for beside them.
    structures : sequence of Path
        CIF or POSCAR files with the elements of VASP 4 files: one a density in the same order, one for all, or none.
    force : bool
        Predict what the networks have not seen the like of, too, with a warning.

    Raises
    ------
    StudyError
        If an option makes no sense, or weights are missing. A crystal that cannot be used is `refused`.
    """
    if not densities:
        raise StudyError("no density file: name at least one CHGCAR")
    if len(structures) not in (0, 1, len(densities)):
        raise StudyError(
            f"--structure or --cif: {len(structures)} files for {len(densities)} densities; give one a density,"
            " in the same order, or one for all"
        )
    reads = KNOWN_NETWORKS[ensemble.card.model].reads
    crystals = read_crystals(
        densities,
        ensemble.study,
        structures=list(structures) * len(densities) if len(structures) == 1 else structures,
        images="image" in reads,
        level=ensemble.card.level if "text" in reads else None,
    )
    checks = Checks(ensemble.card, densities="image" in reads)
    stated = [_state(crystal, checks, ensemble.card.unit, force) for crystal in crystals]
    usable = [k for k, one in enumerate(stated) if one.refused is None]
    for k, values in zip(usable, _run_networks(ensemble, [crystals[k] for k in usable]), strict=True):
        stated[k] = _with_numbers(stated[k], values, ensemble.card.half_width)
    return stated


def _state(crystal: NewCrystal, checks: Checks, unit: str, force: bool) -> Prediction:
    """Refuse a crystal, or say what is to be known of the prediction that follows."""
    if crystal.rejected:
        return Prediction(crystal.file, crystal.formula, unit, refused=crystal.rejected)
    doubts, unchecked = checks.look(crystal)
    if doubts and not force:
        return Prediction(crystal.file, crystal.formula, unit, refused="; ".join(map(str, doubts)))
    if crystal.undescribed:
        unchecked.append(
            f"robocrystallographer did not describe it ({crystal.undescribed}): the networks read a text of formula,"
            " symmetry and sites alone"
        )
    return Prediction(crystal.file, crystal.formula, unit, warnings=(*map(str, doubts), *unchecked))


def _with_numbers(stated: Prediction, values: Sequence[float], width: float | None) -> Prediction:
    mean = statistics.fmean(values)
    return replace(
        stated,
        mean=mean,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        low=None if width is None else mean - width,
        high=None if width is None else mean + width,
        n_runs=len(values),
    )


def _run_networks(ensemble: Ensemble, crystals: Sequence[NewCrystal]) -> list[list[float]]:
    """Predictions [unit] of every run for each crystal; a crystal's do not depend on the others."""
    if not crystals:
        return []
    found: list[list[float]] = [[] for _ in crystals]
    images = [crystal.image for crystal in crystals if crystal.image is not None]
    sides = [crystal.side for crystal in crystals if crystal.side is not None]
    texts = [crystal.text for crystal in crystals if crystal.text is not None]
    with reproducible(ensemble.study.training.threads), torch.inference_mode():
        network = _untrained(ensemble)
        inputs = network.prepare(
            np.stack(images) if images else None, texts or None, np.array(sides) if sides else None
        )
        for run in ensemble.card.runs:
            load_state(network, (ensemble.folder / run.weights).parent)
            network.eval()
            for row, values in enumerate(found):
                z = float(network(inputs[[row]])[0])
                values.append(z * run.scale + run.offset)
    return found


def _untrained(ensemble: Ensemble) -> Network:
    """Build the architecture; where its weights came from does not matter, the runs' are loaded into it."""
    entry = NETWORKS[ensemble.card.model]
    seed_torch(0)
    network: Network = entry.make(without_weights(entry.take_options(ensemble.study)), {})
    return network.float()  # an encoder's configuration may ask for half precision, which no run was trained in


def without_weights(options: Section) -> Section:
    """Network options whose sections ask for random weights, so that no pretrained file is needed."""
    sections = {name: getattr(options, name) for name in type(options).model_fields}
    random = {
        name: section.model_copy(update={"weights": RANDOM})
        for name, section in sections.items()
        if isinstance(section, Section) and "weights" in type(section).model_fields
    }
    return options.model_copy(update=random)
