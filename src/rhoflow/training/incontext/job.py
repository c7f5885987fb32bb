"""The runs of the language model in context: ask, read the answers, and write the files that every model writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.config import LanguageModelInContext
from rhoflow.dataset.load import View, load_view
from rhoflow.dataset.names import NO_TEXT
from rhoflow.dataset.views import LEAST
from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.properties import PROPERTIES
from rhoflow.training.evaluate import RunKey, Stopwatch, score, write_provenance, write_run
from rhoflow.training.incontext.answers import Answer, AnswerStore
from rhoflow.training.incontext.client import BACKOFF_S, ask_all
from rhoflow.training.incontext.cost import estimate
from rhoflow.training.incontext.parse import Failure, parse_answer
from rhoflow.training.incontext.prompt import ASKED, Question, choose_examples, write_questions
from rhoflow.training.names import ANSWERS, LLM, estimate_file
from rhoflow.training.scaler import Scaler


@dataclass(frozen=True)
class InContextJob:
    """One target at one level: all folds and seeds.

    Attributes
    ----------
    root : Path
        Result folder of the study.
    """

    options: LanguageModelInContext
    root: Path
    target: str
    level: str
    folds: int
    seeds: Sequence[int]

    @property
    def store(self) -> AnswerStore:
        """Answers of the study."""
        return AnswerStore(self.root / ANSWERS)

    def runs(self) -> Iterator[tuple[RunKey, View, list[Question]]]:
        """Each run with what it sees and asks, one by one: with their images the questions are large."""
        for fold in range(self.folds):
            images = load_view(self.root, self.target, NO_TEXT, fold).images
            view = replace(load_view(self.root, self.target, self.level, fold), images=images)
            for seed in self.seeds:
                key = RunKey(LLM, self.target, self.level, fold, seed)
                yield key, view, write_questions(view, self.target, options=self.options, fold=fold, seed=seed)


def predict_in_context(job: InContextJob, *, backoff_s: float = BACKOFF_S) -> None:
    """Estimate the cost, and unless it is a dry run, ask for every validation and test crystal and write the runs.

    Writes ``llm/<target>.<level>.json`` (the estimate), ``llm/answers/`` and, for all folds and seeds,
    ``runs/llm/<target>/<level>/fold<k>/seed<s>/`` with metrics.json, predictions.parquet and run.prov.json.

    Parameters
    ----------
    backoff_s : float
        Wait before the second try of a call [s].

    Raises
    ------
    StudyError
        If a view is missing or out of date, the endpoint gives no answers, or fewer than two of a part can be read.
    """
    bodies = (question.body for _, _, questions in job.runs() for question in questions)
    cost = estimate(bodies, job.store, job.options)
    write_json(job.root / estimate_file(job.target, job.level), asdict(cost))
    print(f"llm {job.target} {job.level}, folds x seeds {job.folds} x {len(job.seeds)}: {cost}", flush=True)
    if job.options.dry_run:
        print("llm.dry_run is true: nothing was asked. To ask, set llm.dry_run: false", flush=True)
        return
    for key, view, questions in job.runs():
        watch = Stopwatch.start()
        ask_all((question.body for question in questions), job.store, job.options, what=key.name, backoff_s=backoff_s)
        answers = {question.material_id: job.store.read(question.body) for question in questions}
        _write(job, key, view, answers)
        write_provenance(key.folder(job.root), watch)


def _write(job: InContextJob, key: RunKey, view: View, answers: dict[str, Answer]) -> None:
    """Write the files of one run: a prediction where the answer holds one, and no row where it does not."""
    prop = PROPERTIES[key.target]
    read = {material_id: parse_answer(answer, prop) for material_id, answer in answers.items()}
    y_pred = np.array([_number(read.get(material_id)) for material_id in view.ids.tolist()])
    given = np.isfinite(y_pred)
    _check_enough(job, key, view.part[given], read)
    write_run(
        key.folder(job.root),
        key=key,
        unit=prop.unit,
        ids=view.ids[given],
        part=view.part[given],
        y_true=view.y[given],
        y_pred=y_pred[given],
        scaler=Scaler.fit(view.y[view.rows("train")]),
        training=_facts(job.options, key, view, y_pred, read, answers),
    )


def _number(value: float | Failure | None) -> float:
    return value if isinstance(value, float) else np.nan


def _facts(
    options: LanguageModelInContext,
    key: RunKey,
    view: View,
    y_pred: NDArray[np.float64],
    read: dict[str, float | Failure],
    answers: dict[str, Answer],
) -> dict[str, Any]:
    """Section ``training`` of metrics.json: whom, on what examples, how many answers, and what failed and why."""
    train = view.y[view.rows("train")]
    failed = {material_id: value.value for material_id, value in read.items() if isinstance(value, Failure)}
    rows = {part: view.rows(part) for part in ASKED}
    filled = np.where(np.isfinite(y_pred), y_pred, train.mean())
    chosen = choose_examples(view, options.examples, fold=key.fold, seed=key.seed)
    return {
        "weights": {LLM: options.model},
        "served_by": sorted({answer.served_by for answer in answers.values()}),
        "examples": view.ids[chosen].tolist(),
        "asked": {part: len(rows[part]) for part in ASKED},
        "failures": dict(sorted(Counter(failed.values()).items())),
        "failed": dict(sorted(failed.items())),
        # `metrics` is of the crystals with a prediction; here the training mean stands in for the others.
        "metrics_with_mean": {part: score(view.y[rows[part]], filled[rows[part]]) for part in ASKED},
        "y_train_range": [float(train.min()), float(train.max())],  # RMSE over its width is RMSE on min-max targets
        "tokens": {
            "input": sum(answer.input_tokens for answer in answers.values()),
            "output": sum(answer.output_tokens for answer in answers.values()),
        },
    }


def _check_enough(
    job: InContextJob, key: RunKey, part_given: NDArray[np.str_], read: dict[str, float | Failure]
) -> None:
    for part in ASKED:
        if int(np.sum(part_given == part)) < LEAST:
            reasons = Counter(value.value for value in read.values() if isinstance(value, Failure))
            raise StudyError(
                f"{key.name}: fewer than {LEAST} answers of the {part} part hold a value"
                f" ({', '.join(f'{n} {reason}' for reason, n in reasons.most_common())}); the answers are in"
                f" {job.root / ANSWERS}; try another llm.model or llm.role, or more llm.answer_tokens"
            )
