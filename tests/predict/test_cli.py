"""The two commands, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rhoflow import cli
from rhoflow.errors import StudyError
from rhoflow.predict import Ensemble, predict

RTOL = 1e-12  # of a number printed in full and read again


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [str(one) for one in arguments])
    if isinstance(result.exception, StudyError):
        raise result.exception
    return result.exit_code, result.stdout


def test_prediction_is_printed_and_written(finished: Path, image: Ensemble, demo: Path, tmp_path: Path) -> None:
    file, table = demo / "MgO_rocksalt/CHGCAR.xz", tmp_path / "predictions.csv"
    code, text = run("predict", "--study", finished, "--model", "image", "--target", "k_vrh", file, "--output", table)
    (one,) = predict(image, [file])
    assert code == 0
    assert "k_vrh [GPa] by image, level none, 2 runs" in text
    assert f"{one.mean:.4g}" in text
    assert f"{one.low:.4g} to {one.high:.4g}" in text
    row = pd.read_csv(table).iloc[0]
    assert (row["file"], row["formula"], row["unit"], row["n_runs"]) == (str(file), "MgO", "GPa", 2)
    for name in ("mean", "sd", "low", "high"):
        assert row[name] == pytest.approx(getattr(one, name), rel=RTOL)


def test_refusal_ends_with_1_and_force_with_0_and_a_warning_column(
    finished: Path, demo: Path, tmp_path: Path
) -> None:
    files = [demo / name / "CHGCAR.xz" for name in ("ZnSe_zincblende", "MgO_rocksalt")]
    call = ("predict", "--study", finished, "--model", "image", *files, "--output")
    code, text = run(*call, tmp_path / "refused.json")
    assert code == 1
    assert f"refused: element not in the training set: {files[0]}: Se, Zn stood in no training crystal" in text
    rows = json.loads((tmp_path / "refused.json").read_text())
    assert [row["mean"] is None for row in rows] == [True, False]
    code, text = run(*call, tmp_path / "forced.csv", "--force")
    assert code == 0
    assert "warning: element not in the training set" in text
    warnings = pd.read_csv(tmp_path / "forced.csv", keep_default_na=False)["warnings"]
    assert [bool(one) for one in warnings] == [True, False]


def test_export_then_predict(finished: Path, image: Ensemble, demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    code, text = run("export-model", "small", "--folder", finished.parent, "--model", "image", "--output", folder)
    assert (code, text) == (0, f"2 networks: {folder}\n")
    file = demo / "Al_fcc/CHGCAR.xz"
    cif = demo / "Al_fcc/structure.cif"
    call = ("predict", "--model", folder, file, file, "--cif", cif, "--structure", cif)
    assert run(*call, "--output", tmp_path / "p.json")[0] == 0
    rows = json.loads((tmp_path / "p.json").read_text())
    assert [row["mean"] for row in rows] == [predict(image, [file])[0].mean] * 2
    with pytest.raises(StudyError, match="--structure or --cif: 3 files for 2 densities"):
        run(*call, "--cif", cif)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --study with --model"),
        (("--study", "results/x"), "give --study with --model"),
        (("--study", "demo", "--model", "image"), "--study demo: no such folder; .* results/demo"),
        (("--model", "fusion"), "--model fusion: no such folder; .* add --study"),
        (("--model", ".", "--level", "all"), "--target and --level go with --study"),
        (("--model", ".", "--output", "x.xlsx"), "must end in .csv or .json"),
    ],
)
def test_options_that_make_no_sense_are_named(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        run("predict", "CHGCAR", *options)


@pytest.mark.parametrize("command", ["predict", "export-model"])
def test_help_names_the_options(command: str) -> None:
    code, text = run(command, "--help")
    assert code == 0
    for option in ("--model", "--target", "--level", "--output", *(["--cif"] if command == "predict" else [])):
        assert option in text
