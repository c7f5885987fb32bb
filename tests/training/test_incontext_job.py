"""The runs of the language model: the files of every model, honest counts, nothing asked twice or in a dry run."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_endpoint import KEY, FakeEndpoint, Handler, completion, modulus, say
from sklearn.metrics import r2_score, root_mean_squared_error
from synthetic import crystals, write_dataset, write_stages

from rhoflow.config import Clean, Splits
from rhoflow.dataset.load import View, load_view
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.training.incontext.cost import CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE, estimate
from rhoflow.training.incontext.job import InContextJob, predict_in_context
from rhoflow.training.incontext.prompt import choose_examples

N, FOLDS, SEEDS = 30, 2, (0, 1)
FILES = ("metrics.json", "predictions.parquet", "run.prov.json")
BAD = ("I cannot tell.", "90-100 GPa", "120 psi")


def moody(handler: Handler, body: dict[str, Any]) -> None:
    """Answer two crystals in five badly."""
    number = int(re.findall(r"Crystal c([0-9]+)", body["messages"][-1]["content"][0]["text"])[0])
    text = BAD[number % 5] if number % 5 < 2 else modulus(body)
    handler.send_json(200, completion(text))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeEndpoint() as server:
        server.otherwise = moody
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _study(tmp_path / "study")


def _study(root: Path, order: int = 1) -> Path:
    write_stages(root, crystals(N)[::order])
    write_dataset(root, clean=Clean(iqr_factor=None), splits=Splits(folds=FOLDS, test=0.3), targets=("k_vrh",))
    return root


def _job(endpoint: FakeEndpoint, root: Path, **changes: Any) -> InContextJob:
    options = endpoint.options(examples=3, **changes)
    return InContextJob(options, root, "k_vrh", "all", folds=FOLDS, seeds=SEEDS)


@pytest.fixture(scope="module")
def asked() -> list[dict[str, Any]]:
    """What the endpoint was asked by `done`."""
    return []


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, asked: list[dict[str, Any]]) -> Path:
    """A study whose runs are there."""
    root = _study(tmp_path_factory.mktemp("done"))
    with pytest.MonkeyPatch.context() as patch, FakeEndpoint() as server:
        patch.setenv("OPENAI_API_KEY", KEY)
        server.otherwise, server.asked = moody, asked
        predict_in_context(_job(server, root))
    return root


def _run(root: Path, fold: int = 0, seed: int = 0) -> tuple[dict[str, Any], pd.DataFrame]:
    folder = root / f"runs/llm/k_vrh/all/fold{fold}/seed{seed}"
    return read_json(folder / "metrics.json"), pd.read_parquet(folder / "predictions.parquet")


def _results(root: Path) -> dict[str, bytes]:
    files = [path for name in FILES[:2] for path in root.rglob(name)]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _part(view: View, part: str) -> set[str]:
    return set(view.ids[view.rows(part)].tolist())


def test_runs_have_the_files_of_every_model_and_their_numbers(done: Path) -> None:
    folders = [f"fold{fold}/seed{seed}" for fold in range(FOLDS) for seed in SEEDS]
    written = {path.relative_to(done / "runs").as_posix() for path in (done / "runs").rglob("*") if path.is_file()}
    assert written == {f"llm/k_vrh/all/{folder}/{name}" for folder in folders for name in FILES}
    metrics, table = _run(done, fold=1, seed=1)
    assert (metrics["model"], metrics["unit"], metrics["fold"], metrics["seed"]) == ("llm", "GPa", 1, 1)
    for part in ("val", "test"):
        rows = table[table["part"] == part]
        r2, rmse = (score(rows["y_true"], rows["y_pred"]) for score in (r2_score, root_mean_squared_error))
        assert metrics["metrics"][part]["r2"] == pytest.approx(r2, rel=1e-9)
        assert metrics["metrics"][part]["rmse"] == pytest.approx(rmse, rel=1e-9)


def test_predictions_are_the_answers_in_the_views_order(done: Path, asked: list[dict[str, Any]]) -> None:
    view = load_view(done, "k_vrh", "all", 0)
    said = {body["messages"][-1]["content"][0]["text"]: modulus(body) for body in asked}
    of = dict(zip(view.ids.tolist(), zip(view.texts, view.y.tolist(), strict=True), strict=True))
    table = _run(done)[1]
    assert len(table) > 5
    for material_id, y_true, y_pred in zip(table["material_id"], table["y_true"], table["y_pred"], strict=True):
        text, y = of[material_id]
        assert (y_true, f"{y_pred:.1f} GPa") == (y, said[text])


def test_unreadable_answers_are_counted_and_predict_nothing(done: Path) -> None:
    view = load_view(done, "k_vrh", "all", 0)
    metrics, table = _run(done)
    asked = _part(view, "val") | _part(view, "test")
    bad = {material_id for material_id in asked if int(material_id[1:]) % 5 < 2}
    facts = metrics["training"]
    assert bad
    assert set(table["material_id"]) == asked - bad
    reasons = {material_id: ("no number", "several numbers")[int(material_id[1:]) % 5] for material_id in bad}
    assert facts["failed"] == reasons
    assert facts["failures"] == Counter(reasons.values())
    assert facts["asked"] == {part: len(_part(view, part)) for part in ("val", "test")}
    answered = {part: len(_part(view, part) - bad) for part in ("val", "test")}
    assert metrics["n"] == {"train": 0, **answered}


def test_mean_stands_in_for_missing_predictions_in_figures_of_their_own(done: Path) -> None:
    view = load_view(done, "k_vrh", "all", 0)
    metrics, table = _run(done)
    mean = view.y[view.rows("train")].mean()
    said = table.set_index("material_id")["y_pred"].reindex(view.ids).fillna(mean).to_numpy()
    test = view.rows("test")
    with_mean = metrics["training"]["metrics_with_mean"]["test"]
    assert with_mean["r2"] == pytest.approx(r2_score(view.y[test], said[test]), rel=1e-9)
    assert with_mean["r2"] != metrics["metrics"]["test"]["r2"]
    train = view.y[view.rows("train")]
    assert metrics["scaler"] == pytest.approx({"mean": train.mean(), "std": train.std()}, rel=1e-9)
    assert metrics["training"]["y_train_range"] == [train.min(), train.max()]


def test_what_was_spent_and_shown_is_written_down(done: Path) -> None:
    facts = _run(done)[0]["training"]
    n = sum(facts["asked"].values())
    assert facts["tokens"] == {"input": 900 * n, "output": 6 * n}
    assert (facts["weights"], facts["served_by"]) == ({"llm": "fake"}, ["fake-2026"])
    view = load_view(done, "k_vrh", "all", 0)
    assert facts["examples"] == view.ids[choose_examples(view, 3, fold=0, seed=0)].tolist()


def test_rerun_asks_nothing_and_gives_the_same_bytes(
    endpoint: FakeEndpoint, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _results(done)
    monkeypatch.delenv("OPENAI_API_KEY")
    predict_in_context(_job(endpoint, done, concurrency=1))
    assert endpoint.asked == []
    assert _results(done) == before


def test_another_folder_order_and_concurrency_give_the_same_bytes(
    endpoint: FakeEndpoint, done: Path, tmp_path: Path
) -> None:
    other = _study(tmp_path / "other", order=-1)
    predict_in_context(_job(endpoint, other, concurrency=1))
    assert _results(other) == _results(done)
    assert len(endpoint.asked) > 0


def test_dry_run_asks_nothing_and_says_what_the_real_one_would(
    endpoint: FakeEndpoint,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    asked: list[dict[str, Any]],
    done: Path,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    prices = {"input_usd_per_million": 1000.0, "output_usd_per_million": 10.0}
    predict_in_context(_job(endpoint, root, dry_run=True, **prices))
    assert endpoint.asked == []
    assert not (root / "runs").exists()
    cost = read_json(root / "llm/k_vrh.all.json")
    out = capsys.readouterr().out
    assert f"{cost['calls']} calls (0 more are answered already)" in out
    assert f"about {cost['usd']:.2f} USD" in out
    assert "llm.dry_run is true: nothing was asked" in out
    assert cost["output_tokens"] == 64 * cost["calls"]
    assert cost["usd"] == pytest.approx(cost["input_tokens"] * 1e-3 + cost["output_tokens"] * 1e-5, rel=1e-12)
    assert len(asked) == cost["calls"]


def test_estimate_leaves_out_what_is_answered(
    endpoint: FakeEndpoint, done: Path, asked: list[dict[str, Any]]
) -> None:
    job = _job(endpoint, done)
    cost = estimate((question.body for _, _, some in job.runs() for question in some), job.store, job.options)
    assert (cost.calls, cost.answered, cost.input_tokens) == (0, len(asked), 0)


def test_tokens_are_those_of_texts_and_images(endpoint: FakeEndpoint, root: Path) -> None:
    content = [{"type": "text", "text": "x" * 10}, {"type": "image_url", "image_url": {"url": "data:" + "A" * 999}}]
    body = {"messages": [{"role": "system", "content": "y" * 30}, {"role": "user", "content": content}]}
    job = _job(endpoint, root, image_tokens=85)
    assert (CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE) == (2.5, 4)
    assert estimate([body], job.store, job.options).input_tokens == 4 + 12 + 4 + 4 + 85
    assert "cost unknown: set llm.input_usd_per_million" in str(estimate([body], job.store, job.options))
    assert estimate([body, body], job.store, job.options) == estimate([body], job.store, job.options)  # asked once


def test_model_that_never_gives_a_number_stops_the_job_with_its_reasons(endpoint: FakeEndpoint, root: Path) -> None:
    endpoint.otherwise = say("As a language model ...")
    with pytest.raises(StudyError, match=r"fewer than 2 answers of the val part hold a value \([0-9]+ no number\)"):
        predict_in_context(_job(endpoint, root))
    assert not (root / "runs").exists()


def test_kill_loses_the_calls_in_flight_at_most_and_no_file_or_line_holds_the_key(
    endpoint: FakeEndpoint, root: Path, done: Path, project: Path
) -> None:
    endpoint.delay_s = 0.05
    job = _job(endpoint, root, concurrency=2)
    options = {"llm": job.options.model_dump(mode="json"), "splits": {"folds": FOLDS, "test": 0.3}, "seeds": SEEDS}
    script = [sys.executable, str(project / "workflow/scripts/incontext.py"), "--root", str(root)]
    arguments = ["--target", "k_vrh", "--level", "all", "--options", json.dumps(options)]
    killed = subprocess.Popen([*script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while len(endpoint.asked) < 8 and killed.poll() is None:
        time.sleep(0.005)
    assert killed.poll() is None, killed.communicate()[0]
    killed.send_signal(signal.SIGKILL)
    said = killed.communicate()[0]
    endpoint.delay_s = 0.0
    predict_in_context(job)
    distinct = len({json.dumps(body) for body in endpoint.asked})
    assert distinct <= len(endpoint.asked) <= distinct + 2  # two calls at a time
    assert _results(root) == _results(done)
    assert " calls (0 more are answered already)" in said
    assert KEY not in said
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {"run.prov.json", "metrics.json", "k_vrh.all.json"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
