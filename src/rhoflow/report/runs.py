"""The runs of a study as the report sees them: read from their folders, grouped into series.

A series is one model on one target at one level: its runs differ in fold and seed only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.config import Study
from rhoflow.dataset.splits import resampled_groups
from rhoflow.dataset.stores import KEPT
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.report.labels import order
from rhoflow.report.names import run_kinds
from rhoflow.training.evaluate import RunKey
from rhoflow.training.names import HISTORY, METRICS, PREDICTIONS, RANDOM, base_of, series_folds, series_targets


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes
    ----------
    key : RunKey
        Model, target, level, fold and seed.
    metrics : dict
        Content of metrics.json.
    predictions : DataFrame
        material_id, part, y_true, y_pred (physical unit).
    history : DataFrame or None
        stage, epoch, lr, train_loss, val_loss, val_rmse (physical unit) of a network.
    """

    key: RunKey
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    history: pd.DataFrame | None

    @property
    def failed(self) -> set[str]:
        """Materials that the language model was asked for without a readable answer; none of another model."""
        return set((self.metrics["training"] or {}).get("failed", ()))

    def part(self, part: str) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
        """Ids, targets and predictions (n,) of one part, sorted by id, in the physical unit."""
        rows = self.predictions[self.predictions["part"] == part].sort_values("material_id")
        ids = rows["material_id"].to_numpy(dtype=np.str_)
        return ids, rows["y_true"].to_numpy(dtype=np.float64), rows["y_pred"].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class Series:
    """The runs of one model, target and level, ordered by fold and seed.

    `groups` is the group of each kept material by id, None where each is its own. `folds` is the number of folds of
    a partition, of which repeat r has the folds r * folds to (r + 1) * folds - 1; None: there is but one partition.
    """

    model: str
    target: str
    level: str
    runs: tuple[Run, ...]
    groups: Mapping[str, str] | None = None
    folds: int | None = None

    @property
    def repeats(self) -> list[int]:
        """Numbers of the partitions that have runs, ascending."""
        return sorted({self._repeat(run) for run in self.runs})

    def of_repeat(self, repeat: int) -> Series:
        """Give the runs of one partition, which share a test set."""
        return replace(self, runs=tuple(run for run in self.runs if self._repeat(run) == repeat))

    def _repeat(self, run: Run) -> int:
        return run.key.fold // self.folds if self.folds else 0

    def groups_of(self, ids: NDArray[np.str_]) -> NDArray[np.str_]:
        """Group (n,) of each material: what never straddles a split; its id where each is its own group.

        Raises
        ------
        StudyError
            If the study no longer keeps one of them.
        """
        if self.groups is None:
            return ids
        gone = sorted(set(ids.tolist()) - set(self.groups))
        if gone:
            raise StudyError(
                f"runs/{self.runs[0].key.name}: predicts {gone[0]}, which {KEPT} does not keep: the run is from older"
                " data; remove its folder and run again"
            )
        return np.array([self.groups[material_id] for material_id in ids.tolist()], dtype=np.str_)

    def common_test(self) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
        """Test ids (n,), targets (n,) and predictions (runs, n) of what all runs predict, in the physical unit.

        Raises
        ------
        StudyError
            If two runs were tested on different materials or targets, as those of two partitions are. A material
            without a readable answer is in the test set all the same.
        """
        first, *others = self.runs
        tables = [dict(zip(*_columns(run), strict=True)) for run in self.runs]
        for run, table in zip(others, tables[1:], strict=True):
            lacks = tables[0].keys() - table.keys() - run.failed
            more = table.keys() - tables[0].keys() - first.failed
            differ = any(tables[0][one] != y for one, y in table.items() if one in tables[0])
            if lacks or more or differ:
                raise StudyError(
                    f"runs/{run.key.name}: its test set is not that of runs/{first.key.name}; all runs of a"
                    " study share one test set: one of the two is from older data, remove its folder and run again"
                )
        common = np.array(sorted(set(tables[0]).intersection(*tables[1:])), dtype=np.str_)
        predictions = []
        for run in self.runs:
            ids, _, y_pred = run.part("test")
            predictions.append(y_pred[np.isin(ids, common)])
        return common, np.array([tables[0][one] for one in common.tolist()]), np.array(predictions)


def _columns(run: Run) -> tuple[list[str], list[float]]:
    ids, y_true, _ = run.part("test")
    return ids.tolist(), y_true.tolist()


def read_run(folder: Path) -> Run:
    """Read a run's folder (without its weights)."""
    metrics = read_json(folder / METRICS)
    key = RunKey(*(metrics[name] for name in ("model", "target", "level", "fold", "seed")))
    history = folder / HISTORY
    return Run(
        key,
        metrics,
        pd.read_parquet(folder / PREDICTIONS),
        pd.read_csv(history) if history.exists() else None,
    )


def run_folders(root: Path, study: Study) -> list[Path]:
    """Folders of the finished runs below `root` that belong to the study.

    Whatever an older configuration or rhoflow left behind (a network, level, fold or seed that the study no longer
    has, a baseline that rhoflow no longer has, or has at another level) is not counted, nor is a run that has not
    written both its files.
    """
    return [
        file.parent
        for file in sorted(root.glob(f"runs/*/*/*/fold*/seed*/{METRICS}"))
        if (file.parent / PREDICTIONS).exists() and _belongs(file.parent.relative_to(root / "runs").parts, study)
    ]


def _belongs(parts: tuple[str, ...], study: Study) -> bool:
    model, target, level, fold, seed = parts
    return (
        (model, level) in run_kinds(study)
        and target in series_targets(study, model)
        and fold in {f"fold{k}" for k in series_folds(study, model)}
        and seed in {f"seed{s}" for s in study.seeds}
    )


def main_series(series: Iterable[Series]) -> list[Series]:
    """Leave out all variants but those with random weights, and all partitions but the first.

    What is left was trained on the same materials and tested on the same ones.
    """
    first = [one.of_repeat(0) for one in series if base_of(one.model)[1] in ("", RANDOM)]
    return [one for one in first if one.runs]


def read_series(root: Path, study: Study) -> list[Series]:
    """All series of a study, variants too, by target in the study's order, in the order of the tables."""
    kinds: dict[tuple[str, str, str], list[Run]] = {}
    for folder in run_folders(root, study):
        run = read_run(folder)
        kinds.setdefault((run.key.target, run.key.model, run.key.level), []).append(run)
    strategy, folds = study.splits.strategy, study.splits.folds
    groups = None if strategy == "random" or not kinds else resampled_groups(root, strategy)
    series = [
        Series(model, target, level, tuple(sorted(runs, key=lambda run: (run.key.fold, run.key.seed))), groups, folds)
        for (target, model, level), runs in kinds.items()
    ]
    return sorted(series, key=lambda one: (study.targets.index(one.target), *order(one.model, one.level)))
