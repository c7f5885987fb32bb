"""The runner of the benchmarks, with made-up rows; what they measure is not run here."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

KEYS = {"name", "value", "reference", "ratio", "goal", "ok"}
PROJECT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted((PROJECT / "benchmarks").glob("bench_*.py"))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/run.py, which looks for benchmarks in a folder of the test and writes there."""
    spec = importlib.util.spec_from_file_location("benchmarks_run", PROJECT / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "results" / "bench.json")
    monkeypatch.setattr(sys, "path", list(sys.path))  # main puts its folder there
    return module


def write_benchmark(folder: Path, name: str, *, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose rows() is one row; forgotten after the test, since other tests write others of its name."""
    row = {"name": name, "value": 2.0, "reference": 6.0, "ratio": 3.0, "goal": ">= 2", "ok": ok}
    (folder / f"bench_{name}.py").write_text(f"def rows():\n    return [{row!r}]\n")
    monkeypatch.setitem(sys.modules, f"bench_{name}", ModuleType("kept by monkeypatch, so that it is restored"))
    del sys.modules[f"bench_{name}"]


@pytest.mark.parametrize(("ok", "status"), [((True, True), 0), ((True, False), 1), ((False, True), 1)])
def test_rows_are_written_and_a_missed_goal_fails(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ok: tuple[bool, bool], status: int
) -> None:
    for name, met in zip(("made_up_a", "made_up_b"), ok, strict=True):
        write_benchmark(tmp_path, name, ok=met, monkeypatch=monkeypatch)
    assert runner.main() == status
    rows = json.loads((tmp_path / "results" / "bench.json").read_text())
    assert [(row["name"], row["ok"]) for row in rows] == [("made_up_a", ok[0]), ("made_up_b", ok[1])]
    assert all(set(row) == KEYS for row in rows)
    assert (rows[0]["value"], rows[0]["reference"], rows[0]["ratio"]) == (2.0, 6.0, 3.0)


def test_missed_goal_is_seen_in_the_table(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, met in (("made_up_a", True), ("made_up_b", False)):
        write_benchmark(tmp_path, name, ok=met, monkeypatch=monkeypatch)
    runner.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in lines if "made_up" in line] == ["yes", "NO"]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_has_rows(path: Path) -> None:
    """Read, not imported: some set up threads and kernels when imported."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert [len(function.args.args) for function in functions if function.name == "rows"] == [0]


def test_there_are_benchmarks() -> None:
    assert BENCHMARKS
