"""The `rhoflow` command, run as `main` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rhoflow import __version__, cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """The exit status of ``rhoflow <arguments>``: a number, or the message that goes to standard error with a 1."""
    monkeypatch.setattr(sys, "argv", ["rhoflow", *arguments])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results with one finished study."""
    (tmp_path / "toy" / "tables").mkdir(parents=True)
    (tmp_path / "toy" / "tables" / "results.txt").write_text("model  MAE\nimage  1.5\n")
    (tmp_path / "toy" / "report.html").touch()
    return tmp_path


def test_results_prints_the_table_and_the_report(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "results", "toy", "--folder", str(results)) == 0
    printed = capsys.readouterr()
    assert printed.out == f"model  MAE\nimage  1.5\n\nReport: {results / 'toy' / 'report.html'}\n"
    assert printed.err == ""


@pytest.mark.parametrize("missing", ["tables/results.txt", "report.html"])
def test_study_without_results_is_one_line_and_no_traceback(
    results: Path, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "toy" / missing).unlink()
    monkeypatch.chdir(results)
    message = run(monkeypatch, "results", "toy", "--folder", ".")
    path = Path("toy") / missing
    assert message == f"rhoflow: {path} does not exist: run snakemake for the study 'toy' first"
    assert capsys.readouterr().out == ""
    assert not Path("rhoflow-error.log").exists()


def test_manifest_lists_the_materials_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed: list[tuple[Path, Path, bool]] = []

    def write_manifest(root: Path, output: Path, *, ingested: bool) -> int:
        listed.append((root, output, ingested))
        return 12

    monkeypatch.setattr("rhoflow.sources.publish.write_manifest", write_manifest)
    assert run(monkeypatch, "manifest", "toy", "--folder", str(tmp_path)) == 0
    assert run(monkeypatch, "manifest", "toy", "--folder", str(tmp_path), "--output", "x.csv", "--ingested") == 0
    root = tmp_path / "toy"
    assert listed == [(root, root / "manifest.csv", False), (root, Path("x.csv"), True)]
    assert f"12 materials: {root / 'manifest.csv'}\n" in capsys.readouterr().out


def test_manifest_of_an_unfinished_study_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = run(monkeypatch, "manifest", "toy", "--folder", str(tmp_path))
    path = tmp_path / "toy/provenance/provenance.json"
    assert message == f"rhoflow: {path} does not exist: run snakemake for the study 'toy' first"


def test_defect_leaves_its_traceback_in_a_file(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "toy" / "tables" / "results.txt").write_bytes(b"\xff")
    monkeypatch.chdir(results)
    message = str(run(monkeypatch, "results", "toy", "--folder", "."))
    assert message.startswith("rhoflow: UnicodeDecodeError(")
    assert message.endswith("the traceback is in rhoflow-error.log")
    assert Path("rhoflow-error.log").read_text().startswith("Traceback")
    assert capsys.readouterr().out == ""


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("manifest", "<folder>/<study>/manifest.csv"),
        ("fetch-weights", "the default study"),
        ("preview", "the default study"),
        ("doctor", "the default study"),
    ],
)
def test_help_says_what_an_option_left_out_means(
    command: str, default: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"[default: ({default})]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "results" in text
    assert "Print a study's table of results" in text
