"""Secrets are found in whatever is published, and folders of this machine are cut."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from jinja2 import Environment
from matplotlib.figure import Figure

from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.report.provenance_privacy import check_secrets, public_settings
from rhoflow.report.render import escape_latex, escape_markdown

VALUE = "sk-0123456789"


def test_value_of_a_secret_variable_is_found(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(b"\x00" + VALUE.encode() + b"\x00")
    with pytest.raises(StudyError, match="SLURM_JWT") as told:
        check_secrets([file], {"SLURM_JWT": VALUE})
    assert VALUE not in str(told.value)


HARD = "p&ss\"w<o>r'd_\\ä=0"


def written(folder: Path, how: str, value: str) -> Path:
    """Write a value as a library of ours would."""
    file = folder / f"file.{how}"
    if how == "html":
        file.write_text(Environment(autoescape=True).from_string("<p>{{ x }}</p>").render(x=value))
    elif how == "svg":
        figure = Figure()
        figure.text(0.5, 0.5, value, parse_math=False)
        with plt.rc_context({"svg.fonttype": "none"}):
            figure.savefig(file)
    elif how == "json":
        write_json(file, {"x": value})
    elif how == "csv":
        pd.DataFrame({"x": [value]}).to_csv(file)
    elif how == "md":
        file.write_text(escape_markdown(value))
    elif how == "tex":
        file.write_text(escape_latex(value))
    elif how == "yaml":
        file.write_text(yaml.safe_dump({"x": value}, allow_unicode=True))
    elif how == "gz":
        file.write_bytes(gzip.compress(value.encode()))
    elif how == "zip":
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a.txt", value)
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("inner.zip", inner.getvalue())
    elif how == "npz":
        np.savez_compressed(file, ids=np.array([value]))
    elif how == "parquet":
        pd.DataFrame({"y": [1.5, 2.5], "x": pd.Series([value, "NaCl"], dtype="category")}).to_parquet(file)
    return file


FORMATS = ["html", "svg", "json", "csv", "md", "tex", "yaml", "gz", "zip", "npz", "parquet"]


@pytest.mark.parametrize("how", FORMATS)
def test_value_is_found_as_each_format_writes_it(tmp_path: Path, how: str) -> None:
    file = written(tmp_path, how, HARD)
    with pytest.raises(StudyError, match="DB_PASSWORD") as told:
        check_secrets([file], {"DB_PASSWORD": HARD})
    assert HARD not in str(told.value)
    check_secrets([written(tmp_path, how, "nothing to hide")], {"DB_PASSWORD": HARD})


@pytest.mark.parametrize("environment", [{"SHELL": VALUE}, {"MP_API_KEY": "short"}, {"MP_API_KEY": VALUE + "x"}, {}])
def test_other_variables_are_no_secrets(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"{VALUE} short")
    check_secrets([file], environment)


def test_absolute_paths_are_cut_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "source": {"path": "/home/alice/crystals", "ids": ["mp-1", 2, None]},
        "image": {"weights": "hf:timm/x", "own": f"{tmp_path}/weights/x"},
        "home": "~/data/list.csv",
    }
    assert public_settings(settings) == {
        "source": {"path": ".../crystals", "ids": ["mp-1", 2, None]},
        "image": {"weights": "hf:timm/x", "own": "weights/x"},
        "home": ".../list.csv",
    }
