"""How good a run is, and the files of a run: one path for networks and baselines.

Every run has a folder ``runs/<model>/<target>/<level>/fold<k>/seed<s>/`` with ``metrics.json`` and
``predictions.parquet``, both with the same bytes for the same config, data and seed, and ``run.prov.json``, which
says where and when. Networks add ``history.csv`` and ``model.safetensors``.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.dataset.names import PARTS
from rhoflow.materials.digests import atomic, digest_file, write_json
from rhoflow.materials.ids import hash_integer
from rhoflow.training.names import METRICS, NETWORK_FILES, PREDICTIONS, PROVENANCE, base_of
from rhoflow.training.scaler import Scaler

PACKAGES = (
    "numpy",
    "scikit-learn",
    "torch",
    "lightning",
    "timm",
    "transformers",
    "open_clip_torch",
    "safetensors",
    "openai",
)


@dataclass(frozen=True)
class RunKey:
    """Which run: model (or variant of one), target, level (`none` for images), fold and seed."""

    model: str
    target: str
    level: str
    fold: int
    seed: int

    @property
    def base(self) -> str:
        """The model without what is changed in it."""
        return base_of(self.model)[0]

    @property
    def variant(self) -> str:
        """What is changed in the model, e.g. ``f25``; "" for nothing."""
        return base_of(self.model)[1]

    @property
    def name(self) -> str:
        """Relative folder, e.g. ``image/k_vrh/none/fold0/seed0``."""
        return f"{self.model}/{self.target}/{self.level}/fold{self.fold}/seed{self.seed}"

    def folder(self, root: Path) -> Path:
        """Folder of the run below the study's result folder `root`."""
        return root / "runs" / self.name

    def random_seed(self, *purpose: object) -> int:
        """Seed below 2**32 for one purpose of this run: the same in any process and whatever ran before.

        A variant has those of its base, so that nothing but what it changes tells the two apart.
        """
        return hash_integer(replace(self, model=self.base).name, *map(str, purpose)) % 2**32


def r2_score(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float | None:
    """Coefficient of determination, 1 - sum (y - p)^2 / sum (y - mean y)^2; None where y is constant or n < 2."""
    if len(y_true) < 2 or np.ptp(y_true) == 0:
        return None
    residual = float(np.sum((y_true - y_pred) ** 2))
    total = float(np.sum((y_true - y_true.mean()) ** 2))
    return 1.0 - residual / total


def root_mean_squared_error(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float | None:
    """Root mean squared error in the unit of y; None for n = 0."""
    return math.sqrt(float(np.mean((y_true - y_pred) ** 2))) if len(y_true) else None


def mean_absolute_error(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float | None:
    """Mean absolute error in the unit of y; None for n = 0."""
    return float(np.mean(np.abs(y_true - y_pred))) if len(y_true) else None


def score(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> dict[str, float | None]:
    """R2, RMSE and MAE of predictions.

    Parameters
    ----------
    y_true, y_pred : (n,) float64 array
        In the target's physical unit.

    Returns
    -------
    dict
        ``r2`` (dimensionless), ``rmse``, ``mae`` (unit of y); None where a number is not defined.

    Raises
    ------
    ValueError
        If the shapes differ or a prediction is not finite.
    """
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_pred has shape {y_pred.shape}, y_true {y_true.shape}: one prediction a material is needed"
        )
    if not np.isfinite(y_pred).all():
        raise ValueError(
            f"{np.sum(~np.isfinite(y_pred))} of {len(y_pred)} predictions are not finite: the fit diverged;"
            " lower training.*.learning_rate"
        )
    return {
        "r2": r2_score(y_true, y_pred),
        "rmse": root_mean_squared_error(y_true, y_pred),
        "mae": mean_absolute_error(y_true, y_pred),
    }


def score_parts(
    part: NDArray[np.str_], y_true: NDArray[np.float64], y_pred: NDArray[np.float64]
) -> dict[str, dict[str, float | None]]:
    """R2, RMSE and MAE (`score`) of each part of the materials, by part."""
    return {name: score(y_true[part == name], y_pred[part == name]) for name in PARTS}


def write_run(
    folder: Path,
    *,
    key: RunKey,
    unit: str,
    ids: NDArray[np.str_],
    part: NDArray[np.str_],
    y_true: NDArray[np.float64],
    y_pred: NDArray[np.float64],
    scaler: Scaler,
    training: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write predictions.parquet and metrics.json into `folder`; return the metrics.

    Materials are sorted by part and id first, so the bytes do not depend on their order.

    Parameters
    ----------
    unit : str
        Physical unit of the target, as printed.
    ids, part : (n,) str array
        Material ids; ``train``, ``val`` or ``test``.
    y_true, y_pred : (n,) float64 array
        In `unit`.
    training : mapping or None
        Weights and stages of a network; None for a baseline.
    """
    order = np.lexsort((ids, part))
    ids, part, y_true, y_pred = ids[order], part[order], y_true[order], y_pred[order]
    metrics = {
        **asdict(key),
        "unit": unit,
        "n": {name: int((part == name).sum()) for name in PARTS},
        "metrics": score_parts(part, y_true, y_pred),
        "scaler": asdict(scaler),
        "training": None if training is None else dict(training),
    }
    table = pd.DataFrame({"material_id": ids, "part": part, "y_true": y_true, "y_pred": y_pred})
    with atomic(folder / PREDICTIONS) as file:
        table.to_parquet(file, index=False)
    write_json(folder / METRICS, metrics)
    return metrics


@dataclass(frozen=True)
class Stopwatch:
    """When a run began: wall clock for people, a monotonic clock for the duration [s]."""

    started: datetime
    begin_s: float

    @classmethod
    def start(cls) -> Stopwatch:
        """Begin now."""
        return cls(datetime.now(UTC), time.monotonic())


def write_provenance(folder: Path, watch: Stopwatch, *, gpu: str | None = None) -> None:
    """Write run.prov.json: host, hardware, versions, start, seconds; the only file of a run that may differ.

    It comes last, with the sha256 of the run's files: so nobody has to read all weights of a study again for them.

    Parameters
    ----------
    gpu : str or None
        Name of the GPU that was used.
    """
    write_json(
        folder / PROVENANCE,
        {
            "host": platform.node(),
            "cpu": cpu_name(),
            "cpu_count": os.cpu_count(),
            "gpu": gpu,
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "started": watch.started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - watch.begin_s, 3),
            "sha256": {
                name: digest_file(folder / name)
                for name in NETWORK_FILES
                if name != PROVENANCE and (folder / name).exists()
            },
        },
    )


def cpu_name() -> str:
    """Model of the processor, or the architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
