"""The networks of a finished study as one ensemble: every fold and seed of a model, a target and a text level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition

from rhoflow.config import KNOWN_NETWORKS, Study, load_study, near
from rhoflow.dataset.names import NO_TEXT
from rhoflow.dataset.parts import TEST
from rhoflow.dataset.stores import read_kept, read_reports
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, read_json
from rhoflow.models.names import WEIGHTS
from rhoflow.models.networks import NETWORKS
from rhoflow.models.weights import RANDOM
from rhoflow.predict.card import Card, Coverage, RunCard, Seen
from rhoflow.predict.ensemble import Ensemble
from rhoflow.properties import PROPERTIES
from rhoflow.report.ensemble import clopper_pearson, conformal_half_width, out_of_fold
from rhoflow.report.runs import Run, Series, read_run
from rhoflow.training.evaluate import RunKey
from rhoflow.training.names import METRICS, PREDICTIONS

PROVENANCE = "provenance/provenance.json"
# What an input is made with; the network's own sections come on top.
_INPUT_SECTIONS = ("study", "field", "raw", "deformation", "grid", "slices", "text")


def read_study(root: Path, *, model: str, target: str | None = None, level: str | None = None) -> Ensemble:
    """All runs of one model, target and level of a finished study.

    Parameters
    ----------
    root : Path
        ``results/<study>``.
    model : str
        A network of the study, e.g. ``fusion``.
    target, level : str or None
        One of the study's; None where there is only one. Level ``none`` for a network that reads no text.

    Raises
    ------
    StudyError
        If the study is not finished, or has no such model, target or level.
    """
    provenance = _provenance(root)
    study = load_study(provenance["config"])
    entry = NETWORKS[model]
    _one("model", model, [name for name in study.models if name in NETWORKS])
    target = _one("target", target, study.targets)
    level = _one("level", level, study.levels if "text" in KNOWN_NETWORKS[model].reads else [NO_TEXT])
    keys = [RunKey(model, target, level, fold, seed) for fold in range(study.splits.folds) for seed in study.seeds]
    runs = [_finished(root, key) for key in keys]
    series = Series(model, target, level, tuple(runs))
    sections = _sections(study, entry.options.model_fields)
    card = Card(
        schema_version=1,
        model=model,
        target=target,
        unit=PROPERTIES[target].unit,
        level=level,
        study=sections,
        encoder=None,
        runs=tuple(_run_card(root, run) for run in runs),
        splits=_splits(runs),
        seen=_seen(root, runs),
        fences=read_json(root / "dataset/fences.json")["fences"],
        residuals=tuple(out_of_fold(series).tolist()),
        coverage=_coverage(series),
        lineage=provenance["lineage"],
        code=provenance["code"],
        software=tuple(provenance["software"]),
    )
    return Ensemble(card, load_study(sections), root)


def _provenance(root: Path) -> dict[str, Any]:
    path = root / PROVENANCE
    if not path.is_file():
        raise StudyError(f"{path} does not exist: run snakemake for the study {root.name!r} first")
    found: dict[str, Any] = read_json(path)
    return found


def _one(what: str, asked: str | None, known: Sequence[str]) -> str:
    """Return what is asked for if the study has it, or the only one that the study has."""
    if asked is None and len(known) == 1:
        return known[0]
    if asked is None or asked not in known:
        said = "give" if asked is None else f"{asked!r} is none of the study's{near(asked, known)}; give"
        raise StudyError(f"--{what}: {said} one of {', '.join(known) or '(there is none)'}")
    return asked


def _finished(root: Path, key: RunKey) -> Run:
    folder = key.folder(root)
    missing = [name for name in (METRICS, PREDICTIONS, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise StudyError(f"{folder / missing[0]} does not exist: run snakemake for the study {root.name!r} first")
    return read_run(folder)


def _sections(study: Study, of_network: Any) -> dict[str, Any]:
    """Sections that inputs and network depend on; images are neither drawn nor transformed for a prediction."""
    whole = study.model_dump(mode="json")
    found = {name: whole[name] for name in (*_INPUT_SECTIONS, *of_network)}
    found["slices"] |= {"png": False, "fourier": False}
    return found | {"training": {"threads": study.training.threads}}


def _run_card(root: Path, run: Run) -> RunCard:
    weights = run.key.folder(root) / WEIGHTS
    scaler = run.metrics["scaler"]
    return RunCard(
        fold=run.key.fold,
        seed=run.key.seed,
        weights=weights.relative_to(root).as_posix(),
        sha256=digest_file(weights),
        offset=scaler["mean"],
        scale=scaler["std"],
        n=run.metrics["n"],
        metrics=run.metrics["metrics"],
        started_from={part: public_name(name) for part, name in run.metrics["training"]["weights"].items()},
    )


def public_name(weights: str) -> str:
    """Name of weights without the folders of this machine."""
    return weights if weights == RANDOM or ":" in weights else Path(weights).name


def _coverage(series: Series) -> Coverage | None:
    """Coverage of the interval around the ensemble's mean on the test set; None without test set or interval."""
    ids, y_true, members = series.common_test()
    width = conformal_half_width(out_of_fold(series))
    if not len(ids) or not np.isfinite(width):
        return None
    covered = int(np.sum(np.abs(members.mean(axis=0) - y_true) <= width))
    share = clopper_pearson(covered, len(ids))
    return Coverage(n=len(ids), covered=covered, low=share.low, high=share.high)


def _splits(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Ids of the test set, and of the materials that validate in each fold and train in the others."""
    parts = {TEST: runs[0].part(TEST)[0]} | {f"fold{run.key.fold}": run.part("val")[0] for run in runs}
    return {name: tuple(ids.tolist()) for name, ids in parts.items()}


def _seen(root: Path, runs: Sequence[Run]) -> tuple[Seen, ...]:
    """Describe all materials that some run trained on."""
    trained = {one for run in runs for one in run.part("train")[0].tolist()}
    kept = read_kept(root)
    kept = kept[kept["material_id"].isin(trained)].set_index("material_id")
    maxima = {name: stats["max"] for report in read_reports(root, "grids") for name, stats in report.stats.items()}
    units = kept["n_sites"].astype(float) / [Composition(formula).num_atoms for formula in kept["formula"]]
    electrons = (kept["electrons"].astype(float) / units).round(3)
    return tuple(
        Seen(formula=kept.loc[name, "formula"], electrons=electrons[name], maximum=maxima[name])
        for name in kept.index
    )
