"""The report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import AsinhNorm
from PIL import Image

from rhoflow.config import Study
from rhoflow.materials.digests import atomic, read_json
from rhoflow.report import labels
from rhoflow.report.crystals import Picture, read_crystals, read_pictures, read_text
from rhoflow.report.entries import Entry
from rhoflow.report.figures import read_index
from rhoflow.report.headline import chosen, sentence
from rhoflow.report.names import PER_TARGET, WHOLE
from rhoflow.report.provenance import Code, code_version, collect_provenance
from rhoflow.report.provenance_privacy import public_settings
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, main_series, read_series
from rhoflow.report.supplements import Supplement, supplements
from rhoflow.report.tables import results_table, training_table

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(root: Path, out: Path, *, study: Study, code: Code | None = None) -> None:
    """Write the report of a study into the file `out`.

    Parameters
    ----------
    root : Path
        Result folder of the study. Its figures are those in ``figures/``; what is missing is left out or said to be.
    code : Code or None
        Which code made the report; by default the rhoflow that runs.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(report_content(root, study, code or code_version()))
    with atomic(out) as part:
        part.write_text(page + "\n", encoding="utf-8")


def report_content(root: Path, study: Study, code: Code) -> dict[str, Any]:
    """Everything the template prints, as text, tables and embedded images."""
    everything = read_series(root, study)
    series = main_series(everything)
    frame = results_frame(series, resamples=study.report.bootstrap)
    crystals = read_crystals(root)
    origin = collect_provenance(root, study, code)
    beside = supplements(everything, frame, study=study, lineage_id=origin["lineage"]["id"])
    figures = _embedded(root / "figures")
    return {
        "study": study.study,
        "targets": [_target(study, target, series, frame, beside, figures, origin) for target in study.targets],
        "field": labels.FIELDS[study.field],
        "facts": _facts(everything, crystals, root, origin),
        "whole": [
            {
                "title": one.title,
                "sentences": [
                    f"{labels.target_label(target).capitalize()}: {said}"
                    for target, said in one.sentences.items()
                    if target not in one.tables
                ],
                "tables": one.whole,
            }
            for one in beside
            if one.whole
        ],
        **{kind: figures.get((kind, None)) for kind in WHOLE},
        "crystal": one_crystal(root, study, series, frame, crystals),
        "rejected": _rejected(root),
        "splits": _splits(root, study, crystals),
        "settings": yaml.safe_dump(public_settings(origin["config"]), sort_keys=False, allow_unicode=True),
        "provenance": origin,
        "duration": _duration,
    }


def _target(
    study: Study,
    target: str,
    series: Sequence[Series],
    frame: pd.DataFrame,
    beside: Sequence[Supplement],
    figures: dict[tuple[str, str | None], dict[str, str]],
    origin: dict[str, Any],
) -> dict[str, Any]:
    ours = [one for one in series if one.target == target]
    lineage_id = origin["lineage"]["id"]
    return {
        "key": target,
        "label": labels.target_label(target),
        "unit": labels.unit_label(target),
        "sentence": sentence(frame, ours, target, resamples=study.report.bootstrap) if ours else None,
        "table": results_table(frame, target, study=study, lineage_id=lineage_id) if ours else None,
        "supplements": [(one.tables[target], one.sentences.get(target)) for one in beside if target in one.tables],
        "training": training_table(ours, target, lineage_id=lineage_id),
        **{kind: figures.get((kind, target)) for kind in PER_TARGET},
    }


def _embedded(folder: Path) -> dict[tuple[str, str | None], dict[str, str]]:
    """Figures by kind and target, their PNG as a data URI."""
    found: dict[tuple[str, str | None], dict[str, str]] = {}
    for entry in read_index(folder):
        file = folder / f"{entry.name}.png"
        if file.exists():
            found[(entry.kind, entry.target)] = _image(entry, file.read_bytes())
    return found


def _image(entry: Entry, png: bytes) -> dict[str, str]:
    return {**asdict(entry), "uri": data_uri(png)}


def data_uri(png: bytes) -> str:
    """PNG as text that stands in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _facts(
    series: Sequence[Series], crystals: pd.DataFrame, root: Path, origin: dict[str, Any]
) -> list[tuple[str, str]]:
    """Key numbers as (number, what it counts)."""
    tests = int((crystals["part"] == "test").sum())
    return [
        (str(len(crystals)), "crystals used"),
        (str(_n_left_out(root, crystals)), "rejected, each with a reason"),
        (str(tests), "held out for the test"),
        (str(sum(len(one.runs) for one in series)), "runs: models × folds × seeds"),
        (_duration(origin["seconds"]), "of training and evaluation"),
    ]


def _n_left_out(root: Path, crystals: pd.DataFrame) -> int:
    """How many materials are out; a kept one may have rows too, for targets that it lacks."""
    file = root / "dataset" / "rejected.csv"
    if not file.exists():
        return 0
    rejected = pd.read_csv(file, dtype=str, keep_default_na=False)["material_id"]
    return len(set(rejected) - set(crystals["material_id"]))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def one_crystal(
    root: Path, study: Study, series: Sequence[Series], frame: pd.DataFrame, crystals: pd.DataFrame
) -> dict[str, Any] | None:
    """Return the whole path of one test crystal: image, texts, predictions; None if no crystal was tested.

    It is the one whose error by the network (else baseline) chosen for the first target with test crystals is the
    median: no better and no worse than the others.
    """
    tested = crystals[crystals["part"] == "test"]
    shown = {target: _chosen_pair(frame, series, target) for target in study.targets}
    first = next((pair[0] for pair in shown.values() if pair and len(pair[0].common_test()[0])), None)
    if first is None:
        return None
    ids, y_true, y_pred = first.common_test()
    order = np.argsort(np.abs(y_pred.mean(axis=0) - y_true), kind="stable")
    material_id = str(ids[order[(len(ids) - 1) // 2]])
    rows = tested[tested["material_id"] == material_id].to_dict("records")
    picture = read_pictures(root, [material_id]).get(material_id)
    return {
        "id": material_id,
        "formula": labels.formula_label(str(rows[0]["formula"])) if rows else material_id,
        "prototype": rows[0]["prototype"] if rows else None,
        "picture": data_uri(picture_png(picture)) if picture else None,
        "side": f"{picture.side:.2f}" if picture else None,
        "lattice_constant": f"{picture.lattice_constant:.3f}" if picture else None,
        "text": read_text(root, material_id),
        "chosen_by": f"{labels.series_label(first.model, first.level)}, {labels.target_label(first.target)}",
        "predictions": [
            _prediction(one, material_id) for pair in shown.values() for one in pair if _tests(one, material_id)
        ],
    }


def _chosen_pair(frame: pd.DataFrame, series: Sequence[Series], target: str) -> list[Series]:
    ours = [one for one in series if one.target == target]
    found = [chosen(frame, ours, target, group) for group in ("network", "baseline")] if ours else []
    return [one for one in found if one is not None]


def _tests(series: Series, material_id: str) -> bool:
    return material_id in series.common_test()[0]


def _prediction(series: Series, material_id: str) -> dict[str, str]:
    ids, y_true, y_pred = series.common_test()
    k = int(np.flatnonzero(ids == material_id)[0])
    decimals = labels.decimals_for(float(y_true.std()))
    mean, sd = float(y_pred[:, k].mean()), float(y_pred[:, k].std(ddof=1)) if len(y_pred) > 1 else float("nan")
    return {
        "target": labels.axis_label(series.target),
        "model": labels.series_label(series.model, series.level),
        "dft": labels.number(float(y_true[k]), decimals),
        "predicted": labels.spread(mean, sd, decimals),
    }


def picture_png(picture: Picture) -> bytes:
    """Image of a crystal in the colours of the example slices, a pixel a pixel."""
    norm = AsinhNorm(linear_width=0.05, vmin=float(picture.image.min()), vmax=1.0)
    colours = colormaps["magma"](norm(picture.image), bytes=True)[..., :3]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(buffer, "PNG")
    return buffer.getvalue()


def _rejected(root: Path) -> dict[str, Any] | None:
    file = root / "dataset" / "rejected.csv"
    if not file.exists():
        return None
    rows = pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records")
    counts = Counter((row["stage"], row["reason"]) for row in rows)
    return {
        "rows": rows,
        "counts": [
            {"stage": stage, "reason": reason, "n": n}
            for (stage, reason), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def _splits(root: Path, study: Study, crystals: pd.DataFrame) -> dict[str, Any]:
    leakage = root / "dataset" / "leakage.json"
    parts = crystals["part"].value_counts().sort_index()
    return {
        "strategy": study.splits.strategy,
        "seed": study.splits.seed,
        "parts": [(str(part), int(n)) for part, n in parts.items()],
        "leakage": read_json(leakage) if leakage.exists() else None,
    }
