"""A table's numbers arrive in house units, or the column is named."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rhoflow.errors import StudyError
from rhoflow.sources.table import read_table

RELATIVE = 1e-12


def _table(folder: Path, text: str, sidecar: object = None, kind: str = "json") -> Path:
    path = folder / "properties.csv"
    path.write_text(text)
    if sidecar is not None:
        (folder / f"properties.csv.units.{kind}").write_text(
            sidecar if isinstance(sidecar, str) else json.dumps(sidecar)
        )
    return path


@pytest.mark.parametrize(
    ("column", "key", "factor"),
    [
        ("k_vrh_GPa", "k_vrh", 1.0),
        ("k_vrh_kbar", "k_vrh", 0.1),
        ("formation_energy_per_atom_meV", "formation_energy_per_atom", 1e-3),
        ("lattice_constant_nm", "lattice_constant", 10.0),
        ("nsites", "nsites", 1.0),
    ],
)
def test_unit_in_the_column_name(tmp_path: Path, column: str, key: str, factor: float) -> None:
    table = read_table(_table(tmp_path, f"material_id,{column}\na,2.5\n"))
    assert table.numbers[key] == pytest.approx([2.5 * factor], rel=RELATIVE)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_unit_in_the_sidecar(tmp_path: Path, kind: str) -> None:
    sidecar = {"K (kbar)": {"property": "k_vrh", "unit": "kbar"}, "band_gap_eV": None, "N": {"property": "nsites"}}
    table = read_table(_table(tmp_path, "material_id,K (kbar),band_gap_eV,N\na,50,1.5,2\n", sidecar, kind))
    assert {key: values.tolist() for key, values in table.numbers.items()} == {"k_vrh": [5.0], "nsites": [2.0]}
    assert table.texts == {"band_gap_eV": ["1.5"]}


def test_house_unit_as_printed_is_accepted_in_the_sidecar(tmp_path: Path) -> None:
    sidecar = {"E": {"property": "formation_energy_per_atom", "unit": "eV/atom"}}
    assert read_table(_table(tmp_path, "material_id,E\na,-1\n", sidecar)).numbers[
        "formation_energy_per_atom"
    ].tolist() == [-1.0]


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ({"K": {"property": "k_vhr", "unit": "GPa"}}, r"unknown property 'k_vhr' \(did you mean 'k_vrh'\?\)"),
        ({"K": {"property": "k_vrh", "unit": "GPaa"}}, "'GPaa'; accepted: GPa, kbar, Mbar"),
        ({"K": {"property": "k_vrh"}}, "unit ''; accepted: GPa"),
        ({"Kx": None}, r"has no column 'Kx' \(did you mean 'K'"),
        ({"K": "GPa"}, "write {property: k_vrh, unit: GPa}"),
        ([1], "one entry a column"),
        ("{", "neither JSON nor YAML"),
    ],
    ids=["property", "unit", "no-unit", "column", "form", "list", "syntax"],
)
def test_bad_sidecar_is_named(tmp_path: Path, sidecar: object, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        read_table(_table(tmp_path, "material_id,K\na,1\n", sidecar))


@pytest.mark.parametrize("column", ["k_vrh_MPaa", "k_vrh", "density_atomic_cm3"])
def test_numbers_under_a_property_with_unknown_unit_stop_the_study(tmp_path: Path, column: str) -> None:
    with pytest.raises(StudyError, match=rf"column '{column}' names the property \w+ with no known unit; accepted: "):
        read_table(_table(tmp_path, f"material_id,{column}\na,1\n"))


def test_unknown_unit_message_lists_the_accepted_columns(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="accepted: k_vrh_GPa, k_vrh_kbar, k_vrh_Mbar, k_vrh_eV_A3; rename"):
        read_table(_table(tmp_path, "material_id,k_vrh_MPaa\na,1\n"))


def test_words_under_a_property_like_name_are_text(tmp_path: Path) -> None:
    table = read_table(_table(tmp_path, "material_id,band_gap_type\na,direct\n"))
    assert table.texts == {"band_gap_type": ["direct"]}


def test_one_property_in_two_columns_stops_the_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="'k_vrh_GPa' and 'k_vrh_kbar' both hold k_vrh"):
        read_table(_table(tmp_path, "material_id,k_vrh_GPa,k_vrh_kbar\na,1,10\n"))


def test_same_column_twice_stops_the_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="column 'k_vrh_GPa' stands there twice"):
        read_table(_table(tmp_path, "material_id,k_vrh_GPa,k_vrh_GPa\na,1,10\n"))


def test_missing_id_column_names_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no column 'material_id' \(did you mean 'materials_id'\?\)"):
        read_table(_table(tmp_path, "materials_id,k_vrh_GPa\na,1\n"))


def test_missing_table_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"source.properties: no file .*none.csv"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("text", ["", "material_id,a\nx,1,2\n", "\xff\xfe"], ids=["empty", "ragged", "binary"])
def test_unreadable_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "properties.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=r"properties.csv: no (readable table|column)"):
        read_table(path)


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    values = [0.1, 1e-17 + 1 / 3, None]
    pd.DataFrame({"material_id": ["a", "b", "c"], "k_vrh_GPa": values, "flag": [True, False, True]}).to_parquet(
        tmp_path / "p.parquet"
    )
    table = read_table(tmp_path / "p.parquet")
    assert table.ids == ["a", "b", "c"]
    assert table.numbers["k_vrh"].tolist()[:2] == values[:2]
    assert table.texts == {"flag": ["True", "False", "True"]}
    assert table.bad_cells == {}


def test_excel_gives_what_csv_gives(tmp_path: Path) -> None:
    """Real Excel files: numbers as cells, a blank cell, words, and an id that looks like a number."""
    frame = pd.DataFrame(
        {"material_id": ["a", "12", "c"], "k_vrh_GPa": [0.1, 1e-17 + 1 / 3, None], "note": ["x", None, "z"]}
    )
    frame.to_excel(tmp_path / "p.xlsx", index=False)
    frame.to_csv(tmp_path / "p.csv", index=False)
    one, other = read_table(tmp_path / "p.xlsx"), read_table(tmp_path / "p.csv")
    assert one.ids == other.ids == ["a", "12", "c"]
    assert one.numbers["k_vrh"].tolist()[:2] == other.numbers["k_vrh"].tolist()[:2] == [0.1, 1e-17 + 1 / 3]
    assert one.texts == other.texts == {"note": ["x", "", "z"]}
    assert one.bad_cells == other.bad_cells == {}


def test_excel_sheet_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    rows = [["material_id", "k_vrh_GPa", "k_vrh_GPa"], ["a", 1, 2]]
    pd.DataFrame(rows).to_excel(tmp_path / "p.xlsx", index=False, header=False)
    with pytest.raises(StudyError, match="column 'k_vrh_GPa' stands there twice"):
        read_table(tmp_path / "p.xlsx")


def test_file_that_is_no_excel_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.xlsx").write_text("material_id,k_vrh_GPa\n")
    with pytest.raises(StudyError, match=r"p.xlsx: no readable table"):
        read_table(tmp_path / "p.xlsx")


def test_excel_without_its_reader_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_reader(path: Path, **_: object) -> None:
        raise ImportError("Missing optional dependency 'openpyxl'")

    (tmp_path / "p.xlsx").touch()
    monkeypatch.setattr(pd, "read_excel", no_reader)
    with pytest.raises(StudyError, match=r"openpyxl.*save the table as CSV"):
        read_table(tmp_path / "p.xlsx")


@pytest.mark.parametrize("cell", ["abc", "1,5", "inf", "1_000", "12 GPa"])
def test_cell_that_is_no_number_is_told(tmp_path: Path, cell: str) -> None:
    table = read_table(_table(tmp_path, f'material_id,k_vrh_GPa\na,1\nb,"{cell}"\n'))
    assert table.bad_cells[1][0].startswith(f"k_vrh_GPa = {cell!r} is no finite number")
    assert set(table.bad_cells) == {1}


def test_blank_borders_and_byte_order_mark_are_ignored(tmp_path: Path) -> None:
    table = read_table(_table(tmp_path, "\ufeffmaterial_id , k_vrh_GPa\n a , 1 \n"))
    assert (table.ids, table.numbers["k_vrh"].tolist()) == (["a"], [1.0])
