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
from rhoflow.properties import PROPERTIES, zero_up_to
from rhoflow.training.estimators import BASELINES, TwoPart
from rhoflow.training.evaluate import RunKey, Stopwatch, write_provenance, write_run
from rhoflow.training.names import view_level
from rhoflow.training.scaler import Scaler
from rhoflow.training.variants import changed_view


def run_baselines(
    root: Path,
    target: str,
    *,
    series: Sequence[tuple[str, str]],
    folds: int,
    seeds: Sequence[int],
    two_part: bool = False,
) -> None:
    """Fit some baselines for one target and write their run folders.

    Writes ``runs/<baseline>/<target>/<level>/fold<k>/seed<s>/`` with metrics.json, predictions.parquet and
    run.prov.json, for all series, folds and seeds.

    Parameters
    ----------
    root : Path
        Result folder of the study.
    target : str
        Property key.
    series : sequence of (str, str)
        Baselines or variants of them, each with a level (`training.names.baseline_kinds`).
    folds : int
        Number of folds, over all repeats of the splits that they are fitted on.
    seeds : sequence of int
        Random seeds. Ridge and mean do not depend on them; their runs are there for each all the same.
    two_part : bool
        Predict the chance of not being zero and the value of what is not, see `TwoPart`.

    Raises
    ------
    StudyError
        If a view is missing or out of date, or the target is constant in a training part.
    """
    seen: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for fold in range(folds):
        for model, level in series:
            seen.setdefault((fold, view_level(model, level)), []).append((model, level))
    for (fold, shown), group in track(seen.items(), total=len(seen), what=f"baselines {target}"):
        view = load_view(root, target, shown, fold)
        for model, level in group:
            keys = [RunKey(model, target, level, fold, seed) for seed in seeds]
            _run_baseline(root, keys, view, two_part=two_part)


def _run_baseline(root: Path, keys: Sequence[RunKey], view: View, *, two_part: bool) -> None:
    """Fit one baseline on one view, once a seed, and write the runs."""
    baseline = BASELINES[keys[0].base]
    for key in keys:
        watch = Stopwatch.start()
        data = changed_view(view, key)
        train = data.part == "train"
        inputs = baseline.inputs(data)
        scaler = Scaler.fit(data.y[train])
        estimator = baseline.make(key.seed)
        if two_part:
            estimator = TwoPart(estimator, *scaler.zero(zero_up_to(key.target)))
        model = estimator.fit(inputs[train], scaler.standardise(data.y[train]))
        write_run(
            key.folder(root),
            key=key,
            unit=PROPERTIES[key.target].unit,
            ids=data.ids,
            part=data.part,
            y_true=data.y,
            y_pred=scaler.restore(model.predict(inputs)),
            scaler=scaler,
            training=None,
        )
        write_provenance(key.folder(root), watch)
