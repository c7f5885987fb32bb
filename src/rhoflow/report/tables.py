"""The tables of results: one long frame of numbers, and what people read of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rhoflow.config import Study
from rhoflow.dataset.names import PARTS
from rhoflow.materials.digests import atomic
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.report import labels
from rhoflow.report.names import TABLES
from rhoflow.report.provenance import Code, code_version, lineage
from rhoflow.report.render import Row, Table, escape_markdown, to_latex, to_markdown, to_terminal
from rhoflow.report.results import epochs_used, results_frame, texts_cut, weights_used, why_stopped
from rhoflow.report.runs import Series, main_series, read_series
from rhoflow.report.supplements import NO_RUN, supplements

_Numbers = dict[tuple[str, str], dict[str, dict[str, Any]]]


def results_table(frame: pd.DataFrame, target: str, *, study: Study, lineage_id: str) -> Table:
    """Return what a reader sees of one target: R2 and RMSE on train, validation and test."""
    ours = _by_series(frame[frame["target"] == target])
    decimals = labels.decimals_for(min((parts["test"]["rmse_mean"] for parts in ours.values()), default=np.nan))
    with_n = len({_sizes(parts) for parts in ours.values()}) > 1
    unit = labels.unit_after(target)
    header = ["Model", "Text", *(["n"] if with_n else [])]
    header += [f"R² {part}" for part in PARTS] + ["95 % interval"]
    header += [f"RMSE {part}{unit}" for part in PARTS] + ["Epochs"]
    grouped = []
    for group, name in labels.GROUPS.items():
        rows = []
        for (model, level), parts in ours.items():
            if parts["test"]["group"] == group:
                cells = [labels.model_label(model), labels.level_cell(level), *([_sizes(parts)] if with_n else [])]
                cells += _score_cells(parts, decimals)
                bold = frozenset({header.index("R² test")} if parts["test"]["best"] else ())
                rows.append(Row(tuple(cells), bold))
        if rows:
            grouped.append((name, tuple(rows)))
    title = labels.axis_label(target)
    caption = results_caption(ours, study=study, lineage_id=lineage_id)
    return Table(target, title[0].upper() + title[1:], tuple(header), tuple(grouped), caption, text_columns=2)


def _by_series(frame: pd.DataFrame) -> _Numbers:
    """Rows of the long frame by (model, level), then part."""
    numbers: _Numbers = {}
    for row in frame.to_dict("records"):
        numbers.setdefault((row["model"], row["level"]), {})[row["part"]] = {str(k): v for k, v in row.items()}
    return numbers


def _score_cells(parts: dict[str, dict[str, Any]], decimals: int) -> list[str]:
    test = parts["test"]
    cells = [labels.spread(parts[part]["r2_mean"], parts[part]["r2_sd"], 2) for part in PARTS]
    cells.append(labels.interval(test["r2_low"], test["r2_high"], 2))
    cells += [labels.spread(parts[part]["rmse_mean"], parts[part]["rmse_sd"], decimals) for part in PARTS]
    return [*cells, _epochs_cell(test["epochs"])]


def _sizes(parts: dict[str, dict[str, Any]]) -> str:
    return " / ".join(labels.span(parts[part]["n"], parts[part]["n_max"]) for part in PARTS)


def _epochs_cell(epochs: str) -> str:
    return " + ".join(stage.rpartition(" ")[2] for stage in epochs.split("; ")) or labels.DASH


def results_caption(ours: _Numbers, *, study: Study, lineage_id: str) -> str:
    """Explain n, spread and interval of a result table, and name the runs that are missing."""
    sizes = sorted({_sizes(parts) for parts in ours.values()})
    expected = study.splits.folds * len(study.seeds)
    missing = [
        f"{labels.series_label(model, level)} {parts['test']['runs']} of {expected} runs"
        for (model, level), parts in ours.items()
        if parts["test"]["runs"] < expected
    ]
    n = f"n = {sizes[0]}" if len(sizes) == 1 else "n"
    return " ".join(
        [
            f"{n} crystals in training / validation / test of a run.",
            f"Mean ± sample standard deviation over {labels.counted(expected, 'run')}"
            f" ({labels.counted(study.splits.folds, 'fold')} × {labels.counted(len(study.seeds), 'seed')}),"
            " all tested on the same crystals.",
            f"95 % interval of the mean test R²: {study.report.bootstrap} bootstrap resamples of"
            f" {_resampled(ours, study)}, percentile method, predictions of the runs fixed; it does not include"
            " retraining.",
            *_undefined(ours),
            "Fusion networks see image and text.",
            "Networks stop early by the validation set, so their validation numbers are slightly optimistic.",
            *_unanswered(ours),
            f"Bold: the highest mean test R²; this is no claim of a significant difference: {labels.TESTED}.",
            *(["Incomplete: " + "; ".join(missing) + "."] if missing else []),
            f"Lineage {lineage_id}.",
        ]
    )


def _undefined(ours: _Numbers) -> list[str]:
    """Say that some runs have no R2, and are not in its mean."""
    fewer = [row["r2_runs"] for parts in ours.values() for row in parts.values() if 0 < row["r2_runs"] < row["runs"]]
    if not fewer:
        return []
    return [
        "R² is not defined where all targets of a part are equal: such runs are left out of its mean, which is over"
        f" {labels.counted(min(fewer), 'run')} at least."
    ]


def _unanswered(ours: _Numbers) -> list[str]:
    """Say what the language model did not answer, and what its score would be with it."""
    return [
        f"{labels.series_label(model, level)}: scored on the crystals that a run of it answered,"
        f" {_answered(parts['val'])} validation and {_answered(parts['test'])} test crystals; with the training mean"
        f" for the others its test R² is {labels.number(parts['test']['r2_all'], 2)}, and that competes for bold."
        for (model, level), parts in ours.items()
        if parts["test"]["group"] == "llm"
    ]


def _answered(row: dict[str, Any]) -> str:
    return f"{labels.span(row['n'], row['n_max'])} of {row['n_asked']}"


def _resampled(ours: _Numbers, study: Study) -> str:
    """Say what is drawn for an interval, with its number where that is not n."""
    what = labels.RESAMPLED[study.splits.strategy]
    if study.splits.strategy == "random" or not ours:
        return f"the {what}"
    least, most = (pick(parts["test"]["n_groups"] for parts in ours.values()) for pick in (min, max))
    return f"the {labels.span(least, most)} {what}, the crystals of one drawn together"


def training_table(series: Iterable[Series], target: str, *, lineage_id: str) -> Table | None:
    """How the networks of a target were trained: epochs, best epoch, why they stopped, weights; None if none ran."""
    rows, cuts = [], []
    for one in series:
        if one.target != target or not labels.is_network(one.model):
            continue
        cut, texts = texts_cut(one)
        cuts += [f"{labels.series_label(one.model, one.level)} {cut} of {texts}"] if cut else []
        model, level = labels.model_label(one.model), labels.level_cell(one.level)
        best, stopped, weights = epochs_used(one, "best_epoch"), why_stopped(one), weights_used(one)
        for name, epochs in epochs_used(one).items():
            rows.append(Row((model, level, weights, name, stopped[name], epochs, best[name])))
            model, level, weights = "", "", ""  # once a network is enough
    if not rows:
        return None
    return Table(
        f"training-{target}",
        f"How the networks for the {labels.target_label(target)} were trained",
        ("Model", "Text", "Starting weights", "Stage", "Stopped by", "Epochs", "Best epoch"),
        (("", tuple(rows)),),
        "Epochs: least to most over the runs. Best epoch: lowest validation loss; its weights were kept. 0: no epoch"
        f" of the stage improved on the stage before."
        f"{' Texts cut at the token limit: ' + '; '.join(cuts) + '.' if cuts else ''} Lineage {lineage_id}.",
        text_columns=5,
    )


def terminal_table(table: Table, *, study: Study) -> Table:
    """Return the columns of a result table that fit a terminal (its title has the unit)."""
    shown = ("Model", "Text", "R² val", "R² test", "95 % interval", "RMSE test")
    keep = [k for k, name in enumerate(table.header) if name.partition(" [")[0] in shown]
    groups = tuple(
        (name, tuple(Row(tuple(row.cells[k] for k in keep), _moved(row.bold, keep)) for row in rows))
        for name, rows in table.groups
    )
    runs = study.splits.folds * len(study.seeds)
    size, _, _ = table.caption.partition(".")
    drawn = "" if study.splits.strategy == "random" else f" ({labels.RESAMPLED[study.splits.strategy]} resampled)"
    caption = (
        f"{size}. Mean ± SD over {labels.counted(runs, 'run')}, 95 % bootstrap interval of the mean test R²{drawn}."
        " * highest test R²: no claim of significance."
    )
    return Table(table.key, table.title, shown, groups, caption, table.text_columns)


def _moved(columns: frozenset[int], keep: list[int]) -> frozenset[int]:
    return frozenset(keep.index(column) for column in columns if column in keep)


def result_tables(series: Sequence[Series], study: Study, lineage_id: str) -> tuple[pd.DataFrame, list[Table]]:
    """Frame, and the result tables then the training tables of all targets that have runs."""
    main = main_series(series)
    frame = results_frame(main, resamples=study.report.bootstrap)
    present = [target for target in study.targets if any(one.target == target for one in main)]
    results = [results_table(frame, target, study=study, lineage_id=lineage_id) for target in present]
    training = [training_table(main, target, lineage_id=lineage_id) for target in present]
    return frame, [*results, *(table for table in training if table is not None)]


def write_tables(root: Path, out: Path, *, study: Study, code: Code | None = None) -> None:
    """Write the files that `rhoflow.report.names.table_names` lists into `out`.

    Parameters
    ----------
    root : Path
        Result folder of the study; its runs are read.
    code : Code or None
        Which code made the tables; by default the rhoflow that runs.
    """
    series = read_series(root, study)
    lineage_id = lineage(root, study, code or code_version()).id
    frame, tables = result_tables(series, study, lineage_id)
    _write_table(out, "results", f"# Results of the study {study.study}\n", frame, tables, NO_RUN, lineage_id)
    terminal = [to_terminal(terminal_table(one, study=study)) for one in tables if one.key in study.targets]
    _write(out / "results.txt", "\n".join(terminal) or NO_RUN)
    for one in supplements(series, frame, study=study, lineage_id=lineage_id):
        said = [
            f"{labels.target_label(target).capitalize()}: {sentence}" for target, sentence in one.sentences.items()
        ]
        intro = "\n".join(
            [f"# {one.title} of the study {study.study}\n", *(f"{escape_markdown(sentence)}\n" for sentence in said)]
        )
        _write_table(out, one.name, intro, one.frame, [*one.tables.values(), *one.whole], one.empty, lineage_id)
        if one.tests is not None:
            _write(out / f"{one.name}_tests.csv", _csv(one.tests, lineage_id))


def _write_table(
    out: Path, name: str, intro: str, frame: pd.DataFrame, tables: list[Table], empty: str, lineage_id: str
) -> None:
    """Write a table in those of its formats that all tables share."""
    texts = {
        "csv": _csv(frame, lineage_id),
        "md": "\n".join([intro, *map(to_markdown, tables)]) if tables else empty,
        "tex": "\n".join(map(to_latex, tables)) or f"% {empty}",
    }
    for suffix in TABLES[name]:
        if suffix in texts:
            _write(out / f"{name}.{suffix}", texts[suffix])


def _csv(frame: pd.DataFrame, lineage_id: str) -> str:
    """CSV with the lineage as its last column: a line of comment would be read as the header."""
    return spreadsheet_safe(frame.assign(lineage=lineage_id)).to_csv(index=False, lineterminator="\n")


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
