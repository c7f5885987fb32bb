"""Trials of settings: Optuna proposes, a score judges, a journal remembers.

What Optuna proposes depends on the finished trials before it and on a seed made of the series' name and the trial's
number. So a search that was killed proposes, when it goes on, what an undisturbed one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from rhoflow.materials.ids import hash_integer
from rhoflow.progress import track
from rhoflow.training.search.space import LOGARITHMIC, WHOLE
from rhoflow.training.stage import DivergedError

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# A trial is given up after an inner fold where its score so far is worse than the median of the trials before it.
PRUNER = optuna.pruners.MedianPruner(n_startup_trials=5)

Report = Callable[[int, float], None]
Score = Callable[[Mapping[str, float], Report], float]


class GivenUpError(Exception):
    """A trial that is worse than most before it."""


@dataclass(frozen=True)
class Trials:
    """Trials of one search.

    Attributes
    ----------
    name : str
        Of the series and fold; the proposals are seeded by it.
    limits : mapping of str to (low, high)
        Range of each setting.
    own : mapping of str to float
        The study's own settings, which are tried first.
    journal : Path
        Where Optuna keeps what was tried.
    identity : str
        Digest of all that a score depends on; trials of another identity in the same journal are left alone.
    """

    name: str
    limits: Mapping[str, tuple[float, float]]
    own: Mapping[str, float]
    journal: Path
    identity: str

    def run(self, score: Score, n_trials: int) -> list[FrozenTrial]:
        """Run the trials that are missing to `n_trials`; return the first so many, in their order."""
        study = self._open()
        n_done = len(self.finished(study))
        for number in track(range(n_done, n_trials), total=n_trials - n_done, what=f"search {self.name}"):
            if number == 0:
                study.add_trial(self._first(score))
            else:
                self._next(study, score, number)
        return self.finished(study)[:n_trials]

    def n_finished(self) -> int:
        """How many trials there are."""
        return len(self.finished(self._open()))

    @staticmethod
    def finished(study: optuna.Study) -> list[FrozenTrial]:
        """Trials that ended, in their order."""
        return study.get_trials(deepcopy=False, states=FINISHED)

    def _open(self) -> optuna.Study:
        """Open the journal; the trial that a kill interrupted is lost."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        mend(self.journal)
        storage = JournalStorage(JournalFileBackend(str(self.journal)))
        study = optuna.create_study(storage=storage, study_name=self.identity, load_if_exists=True, pruner=PRUNER)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        return study

    def _first(self, score: Score) -> FrozenTrial:
        seen: dict[int, float] = {}
        try:
            value = score(self.own, seen.__setitem__)
        except DivergedError:
            value = None
        return optuna.create_trial(
            params=dict(self.own),
            distributions=self._distributions(),
            intermediate_values=seen,
            value=value,
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        )

    def _next(self, study: optuna.Study, score: Score, number: int) -> None:
        study.sampler = optuna.samplers.TPESampler(seed=self._seed(number), constant_liar=False)
        trial = study.ask(self._distributions())

        def report(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                raise GivenUpError

        try:
            study.tell(trial, score(trial.params, report))
        except (GivenUpError, DivergedError):
            study.tell(trial, state=TrialState.PRUNED)

    def _seed(self, number: int) -> int:
        return hash_integer("search", self.name, str(number)) % 2**32

    def _distributions(self) -> dict[str, BaseDistribution]:
        kinds = {name: IntDistribution if name in WHOLE else FloatDistribution for name in self.limits}
        return {
            name: kinds[name](low, high, log=name in LOGARITHMIC)  # type: ignore[arg-type]
            for name, (low, high) in self.limits.items()
        }


def mend(journal: Path) -> None:
    """Cut off the half line that a kill or a full disk may have left at the end; Optuna would stop at it."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)
