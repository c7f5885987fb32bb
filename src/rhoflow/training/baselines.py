"""The baselines that always run: what a network must beat.

They see the same views, folds and seeds as the networks, learn the same standardised target (mean 0, standard
deviation 1 on the training part), and are evaluated and written by the same code, in physical units. No target is
log-transformed: bulk moduli span decades, and networks and baselines face that alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rhoflow.dataset.load import View, load_view
from rhoflow.progress import track
from rhoflow.properties import PROPERTIES
from rhoflow.training.estimators import BASELINES, Baseline
from rhoflow.training.evaluate import RunKey, Stopwatch, write_provenance, write_run
from rhoflow.training.names import baseline_kinds
from rhoflow.training.scaler import Scaler


def run_baselines(root: Path, target: str, *, levels: Sequence[str], folds: int, seeds: Sequence[int]) -> None:
    """Fit every baseline for one target and write their run folders.

    Writes ``runs/<baseline>/<target>/<level>/fold<k>/seed<s>/`` with metrics.json, predictions.parquet and
    run.prov.json, for all baselines, folds and seeds.

    Parameters
    ----------
    root : Path
        Result folder of the study.
    target : str
        Property key.
    levels : sequence of str
        Text levels; a baseline on text has a run for each.
    folds : int
        Number of folds.
    seeds : sequence of int
        Random seeds. Ridge and mean do not depend on them; their runs are there for each all the same.

    Raises
    ------
    StudyError
        If a view is missing or out of date, or the target is constant in a training part.
    """
    kinds = baseline_kinds(levels)
    work = [(fold, level) for fold in range(folds) for level in dict.fromkeys(level for _, level in kinds)]
    for fold, level in track(work, total=len(work), what=f"baselines {target}"):
        view = load_view(root, target, level, fold)
        for name in (name for name, seen in kinds if seen == level):
            _run_baseline(root, BASELINES[name], view, target=target, level=level, fold=fold, seeds=seeds)


def _run_baseline(
    root: Path, baseline: Baseline, view: View, *, target: str, level: str, fold: int, seeds: Sequence[int]
) -> None:
    """Fit one baseline on one view, once a seed, and write the runs."""
    train = view.part == "train"
    inputs = baseline.inputs(view)
    scaler = Scaler.fit(view.y[train])
    for seed in seeds:
        watch = Stopwatch.start()
        key = RunKey(baseline.name, target, level, fold, seed)
        model = baseline.make(seed).fit(inputs[train], scaler.standardise(view.y[train]))
        write_run(
            key.folder(root),
            key=key,
            unit=PROPERTIES[target].unit,
            ids=view.ids,
            part=view.part,
            y_true=view.y,
            y_pred=scaler.restore(model.predict(inputs)),
            scaler=scaler,
            training=None,
        )
        write_provenance(key.folder(root), watch)
