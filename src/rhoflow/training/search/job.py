"""A search of the workflow: from the study's files to the chosen settings of one series and fold."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from rhoflow.config import Study
from rhoflow.dataset.load import View
from rhoflow.dataset.names import NO_TEXT
from rhoflow.dataset.splits import material_groups
from rhoflow.dataset.stores import read_kept
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, digest_json, write_json
from rhoflow.models.networks import NETWORKS
from rhoflow.properties import PROPERTIES
from rhoflow.training.fit import FeatureCache
from rhoflow.training.job import load_inputs
from rhoflow.training.names import run_level
from rhoflow.training.pack import Pack, run_digest, train_network, train_pack
from rhoflow.training.resume import ResumeFile, StageState
from rhoflow.training.search.chosen import chosen_values
from rhoflow.training.search.inner import inner_folds
from rhoflow.training.search.names import chosen_file
from rhoflow.training.search.space import own_values, ranges
from rhoflow.training.search.trials import Report, Trials

_HERE = Path(__file__).parent
_NOWHERE = Path("nowhere")


@dataclass(frozen=True)
class Fold:
    """What the trials of a series have in common in one outer fold.

    Attributes
    ----------
    pack : Pack
        The series, with the study's own settings; its folds are the inner ones, its folder is a scratch one.
    parents : tuple of Pack
        What it is built on, with their own (chosen) settings: trained on the inner folds too, because the study's
        runs have seen what validates here.
    fold, seed : int
        The outer fold, and the seed.
    inner : list of View
        Data of each inner fold.
    """

    pack: Pack
    parents: tuple[Pack, ...]
    fold: int
    seed: int
    inner: list[View]

    @property
    def name(self) -> str:
        """Series and outer fold, e.g. ``image/k_vrh/none/fold0/seed0``."""
        return self.pack.key(self.fold, self.seed).name

    def identity(self, limits: Mapping[str, tuple[float, float]]) -> str:
        """sha256 of all that a trial's score depends on.

        Parents count by what makes them, not by their weights, which are deleted after the search.
        """
        packs = [replace(one, root=_NOWHERE) for one in (*self.parents, self.pack)]
        made_of = [run_digest(one, one.key(j, self.seed), view) for one in packs for j, view in enumerate(self.inner)]
        code = [digest_file(path) for path in sorted(_HERE.glob("*.py"))]
        return digest_json([self.name, dict(limits), made_of, code, importlib.metadata.version("optuna")])

    def train_parents(self) -> None:
        """Train what the network is built on, once an inner fold."""
        for parent in self.parents:
            train_pack(parent, [(j, self.seed) for j in range(len(self.inner))], self.inner.__getitem__)

    def score(self, values: Mapping[str, float], report: Report, *, cache: FeatureCache) -> float:
        """Inner validation RMSE [unit of the target] with some settings, all inner folds together.

        Parameters
        ----------
        report : callable
            Told the inner fold and the RMSE so far, after each of them.
        """
        squared, n = 0.0, 0
        for j, data in enumerate(self.inner):
            one = replace(self.pack, chosen={j: values}).of_fold(j)
            key = one.key(j, self.seed)
            # The same random numbers for all trials: they differ in their settings alone.
            seed = partial(key.random_seed, "search", self.fold)
            _, _, fitted = train_network(one, key, data, seed=seed, resume=_Unsaved(), cache=cache)
            rows = data.rows("val")
            squared += float(np.sum((fitted.y_pred[rows] - data.y[rows]) ** 2))
            n += len(rows)
            report(j, float(np.sqrt(squared / n)))
        return float(np.sqrt(squared / n))


class _Unsaved(ResumeFile):
    """A trial that is killed is lost: its fits leave nothing on disk."""

    def __init__(self) -> None:
        super().__init__(_NOWHERE, "")

    def load(self) -> dict[str, StageState]:
        return {}

    def save(self, stages: dict[str, StageState], *, now: bool) -> None:
        pass


def search_job(
    study: Study, *, root: Path, scratch: Path, model: str, target: str, level: str, fold: int, frozen: bool
) -> None:
    """Search settings for one series in one fold and write ``search/<model>/<target>/<level>/fold<k>.json``.

    Of the fold only the training part is used, split into inner folds.

    Parameters
    ----------
    study : Study
        Its sections of the networks, training, search, splits and seeds are used; of the seeds the first.
    root, scratch : Path
        Result folder of the study, and where unfinished work is kept.
    level : str
        ``none`` for a model that reads no text.
    frozen : bool
        Stop after the readout, as with ``training.finetune.epochs = 0``.

    Raises
    ------
    StudyError
        If the training part is too small, or no trial ended with a score.
    """
    folder = scratch / "search" / model / target / level / f"fold{fold}"
    data = load_inputs(root, model, target, level, fold)
    groups = material_groups(read_kept(root), study.splits.strategy)
    inner = inner_folds(data, groups, study.search.inner_folds)
    pack = _pack(study, folder / "parents", model, target, level, frozen)
    parents = [
        _pack(study, folder / "parents", name, target, run_level(name, level), frozen)
        for name in pack.entry.parents(pack.options)
    ]
    searched = [
        _with_chosen(one, root, fold, len(inner)) if one.model in study.search.models else one for one in parents
    ]
    one = Fold(pack, tuple(searched), fold, study.seeds[0], inner)

    limits = ranges(study.search, pack.options, frozen=pack.frozen)
    own = own_values(limits, pack.options, pack.training)
    trials = Trials(one.name, limits, own, folder / "journal.log", one.identity(limits))
    if trials.n_finished() < study.search.trials:
        one.train_parents()
    tried = trials.run(partial(one.score, cache=FeatureCache(keep=len(inner))), study.search.trials)
    write_json(root / chosen_file(model, target, level, fold), _outcome(one, tried))
    shutil.rmtree(folder / "parents", ignore_errors=True)


def _pack(study: Study, folder: Path, model: str, target: str, level: str, frozen: bool) -> Pack:
    """Pack of a series whose folds are the inner ones; its fits are this process's alone, on one GPU."""
    return Pack(
        root=folder,
        scratch=folder / "scratch",
        model=model,
        target=target,
        level=level,
        unit=PROPERTIES[target].unit,
        options=NETWORKS[model].take_options(study),
        training=study.training.model_copy(update={"devices": 1}),
        frozen=(frozen and level != NO_TEXT) or study.training.finetune.epochs == 0,
    )


def _with_chosen(pack: Pack, root: Path, fold: int, n: int) -> Pack:
    """Pack with what its own search chose for the outer fold, in each of the `n` inner folds."""
    values = chosen_values(root, pack.model, pack.target, pack.level, fold)
    return replace(pack, chosen=dict.fromkeys(range(n), values))


def _outcome(one: Fold, tried: list[FrozenTrial]) -> dict[str, Any]:
    """Content of the file of chosen settings."""
    scored = [trial for trial in tried if trial.state == TrialState.COMPLETE]
    if not scored:
        raise StudyError(
            f"search of {one.name}: all {len(tried)} trials diverged; lower search.head_learning_rate and"
            " search.backbone_learning_rate"
        )
    best = min(scored, key=lambda trial: (trial.value, trial.number))
    key = one.pack.key(one.fold, one.seed)
    return {
        **{name: getattr(key, name) for name in ("model", "target", "level", "fold", "seed")},
        "unit": one.pack.unit,
        "n": len(one.inner[0].ids),
        "inner_folds": len(one.inner),
        "values": best.params,
        "rmse": best.value,
        "own_rmse": tried[0].value,
        "trials": [
            {"values": trial.params, "rmse": trial.value, "inner_folds": len(trial.intermediate_values)}
            for trial in tried
        ],
    }
