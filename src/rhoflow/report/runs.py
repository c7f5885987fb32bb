"""The runs of a study as the report sees them: read from their folders, grouped into series.

A series is one model on one target at one level: its runs differ in fold and seed only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.config import Study
from rhoflow.dataset.splits import material_groups
from rhoflow.dataset.stores import KEPT, read_kept
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.report.labels import order
from rhoflow.training.evaluate import RunKey
from rhoflow.training.names import HISTORY, METRICS, PREDICTIONS, baseline_kinds, network_kinds


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

    def part(self, part: str) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
        """Ids, targets and predictions (n,) of one part, sorted by id, in the physical unit."""
        rows = self.predictions[self.predictions["part"] == part].sort_values("material_id")
        ids = rows["material_id"].to_numpy(dtype=np.str_)
        return ids, rows["y_true"].to_numpy(dtype=np.float64), rows["y_pred"].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class Series:
    """The runs of one model, target and level, ordered by fold and seed.

    `groups` is the group of each kept material by id, None where each is its own.
    """

    model: str
    target: str
    level: str
    runs: tuple[Run, ...]
    groups: Mapping[str, str] | None = None

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
        """Test ids (n,), targets (n,) and predictions (runs, n), in the physical unit.

        Raises
        ------
        StudyError
            If two runs were tested on different materials or targets.
        """
        ids, y_true, _ = self.runs[0].part("test")
        predictions = []
        for run in self.runs:
            other_ids, other_true, y_pred = run.part("test")
            if not (np.array_equal(ids, other_ids) and np.array_equal(y_true, other_true)):
                raise StudyError(
                    f"runs/{run.key.name}: its test set is not that of runs/{self.runs[0].key.name}; all runs of a"
                    " study share one test set: one of the two is from older data, remove its folder and run again"
                )
            predictions.append(y_pred)
        return ids, y_true, np.array(predictions)


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
        target in study.targets
        and (model, level) in {*network_kinds(study.models, study.levels), *baseline_kinds(study.levels)}
        and fold in {f"fold{k}" for k in range(study.splits.folds)}
        and seed in {f"seed{s}" for s in study.seeds}
    )


def read_series(root: Path, study: Study) -> list[Series]:
    """All series of a study, by target in the study's order, networks before baselines."""
    kinds: dict[tuple[str, str, str], list[Run]] = {}
    for folder in run_folders(root, study):
        run = read_run(folder)
        kinds.setdefault((run.key.target, run.key.model, run.key.level), []).append(run)
    strategy = study.splits.strategy
    groups = None if strategy == "random" or not kinds else material_groups(read_kept(root), strategy)
    series = [
        Series(model, target, level, tuple(sorted(runs, key=lambda run: (run.key.fold, run.key.seed))), groups)
        for (target, model, level), runs in kinds.items()
    ]
    return sorted(series, key=lambda one: (study.targets.index(one.target), *order(one.model, one.level)))
