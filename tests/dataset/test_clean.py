"""Every material is kept or has a row that says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import Crystal, crystals, write_stages

from rhoflow.config import Clean, Fences
from rhoflow.dataset.clean import iqr_fences, write_clean
from rhoflow.dataset.stores import read_kept
from rhoflow.errors import Reason, StudyError
from rhoflow.materials.shards import summary_path

TARGETS = ("k_vrh", "band_gap")
NO_FILTER = Clean(iqr_factor=None)


def _rejected(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "dataset/rejected.csv", keep_default_na=False).set_index("material_id")


def _fences(root: Path) -> dict:
    return json.loads((root / "dataset/fences.json").read_text())


def test_fences_of_a_known_sample() -> None:
    # Quartiles of 0..8 are 2 and 6: the fences lie 1.5 * 4 beyond.
    assert iqr_fences(range(9), 1.5) == (-4.0, 12.0)


def test_all_good_crystals_are_kept_with_their_facts(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(12))
    write_clean(tmp_path, NO_FILTER, TARGETS)
    kept = read_kept(tmp_path)
    assert kept["material_id"].tolist() == [f"c{k:03d}" for k in range(12)]
    assert kept.loc[3, ["formula", "prototype", "n_sites"]].tolist() == ["Mg2Cl", "P3", "2"]
    assert _rejected(tmp_path).empty


@pytest.mark.parametrize(
    ("folder", "stage"), [("raw", "ingest"), ("grids", "grids"), ("slices", "slices"), ("text", "describe")]
)
def test_rejection_of_a_stage_is_told_and_the_material_is_out(tmp_path: Path, folder: str, stage: str) -> None:
    bad = replace(crystals(12)[4], rejected={folder: Reason.NO_PLANE})
    write_stages(tmp_path, [bad if c.material_id == bad.material_id else c for c in crystals(12)])
    write_clean(tmp_path, NO_FILTER, TARGETS)
    row = _rejected(tmp_path).loc["c004"]
    assert row.tolist() == [stage, "plane or window not defined", "c004 is bad"]
    assert "c004" not in read_kept(tmp_path)["material_id"].tolist()
    assert len(read_kept(tmp_path)) == 11


def test_rejection_of_the_catalogue_is_told(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(12))
    entry = {"x/y": {"reason": "bad id", "detail": "only letters"}}
    (tmp_path / "catalog/rejected.json").write_text(json.dumps(entry))
    write_clean(tmp_path, NO_FILTER, TARGETS)
    assert _rejected(tmp_path).loc["x/y"].tolist() == ["catalog", "bad id", "only letters"]


def test_rejections_name_files_without_the_folder_of_the_source(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(6))
    _add_run(tmp_path, "c000", efermi=0.5)
    _add_run(tmp_path, "c001", note="/home/me/runs/c001/OUTCAR: killed")
    detail = "/home/me/runs/x/CHGCAR: its core is in /home/me/runs/x/AECCAR0, not in /home/you/runs"
    (tmp_path / "catalog/rejected.json").write_text(json.dumps({"x": {"reason": "bad id", "detail": detail}}))
    write_clean(tmp_path, NO_FILTER, ["efermi", "k_vrh"], folder=Path("/home/me/runs"))
    details = _rejected(tmp_path)["detail"]
    assert details["x"] == "x/CHGCAR: its core is in x/AECCAR0, not in /home/you/runs"
    assert "(its run: c001/OUTCAR: killed)" in details["c001"]


def test_material_rejected_in_two_stages_has_two_rows(tmp_path: Path) -> None:
    bad = replace(crystals(12)[4], rejected={"grids": Reason.NO_FIELD, "slices": Reason.NO_PLANE})
    write_stages(tmp_path, [*crystals(4), bad, *crystals(12)[5:]])
    write_clean(tmp_path, NO_FILTER, TARGETS)
    assert _rejected(tmp_path)["stage"].tolist() == ["grids", "slices"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"high": 500.0}, "maximum 500 e/A^3 is above the upper fence"),
        ({"high": -500.0}, "maximum -500 e/A^3 is below the lower fence"),
        ({"low": 5.0}, "minimum 5 e/A^3 is above the upper fence"),
        ({"low": -5.0}, "minimum -5 e/A^3 is below the lower fence"),
    ],
    ids=["max-high", "max-low", "min-high", "min-low"],
)
def test_outlier_is_rejected_with_value_and_fence(tmp_path: Path, changes: dict, message: str) -> None:
    write_stages(tmp_path, [*crystals(20), replace(crystals(1)[0], material_id="odd", content=99, **changes)])
    write_clean(tmp_path, Clean(), TARGETS)
    row = _rejected(tmp_path).loc["odd"]
    assert (row["stage"], row["reason"]) == ("clean", Reason.OUTLIER)
    assert message in row["detail"]
    assert _fences(tmp_path)["n_outliers"] == 1


def test_fences_are_numpys_quartiles_of_all_that_passed(tmp_path: Path) -> None:
    bad = Crystal("bad", high=1e6, rejected={"slices": Reason.NO_PLANE})
    unlabelled = Crystal("unlabelled", high=33.0, k_vrh=None, band_gap=None, content=77)
    write_stages(tmp_path, [*crystals(20), bad, unlabelled])
    write_clean(tmp_path, Clean(iqr_factor=2.0), TARGETS)
    highs = [crystal.high for crystal in crystals(20)] + [33.0]
    low, high = np.quantile(highs, [0.25, 0.75])
    made = _fences(tmp_path)
    assert made["fences"]["maximum"] == pytest.approx([low - 2 * (high - low), high + 2 * (high - low)], rel=1e-12)
    assert (made["origin"], made["iqr_factor"], made["n"]) == ("quartiles", 2.0, 21)


def test_value_on_a_fence_stays_and_beyond_goes(tmp_path: Path) -> None:
    made = [replace(c, high=high) for c, high in zip(crystals(3), [1.0, 2.0, np.nextafter(2.0, 3.0)], strict=True)]
    write_stages(tmp_path, made)
    write_clean(tmp_path, Clean(fences=Fences(minimum=(0, 1), maximum=(1.0, 2.0))), TARGETS)
    assert read_kept(tmp_path)["material_id"].tolist() == ["c000", "c001"]


def test_frozen_fences_of_a_former_study_keep_its_materials(tmp_path: Path) -> None:
    write_stages(tmp_path / "a", crystals(20))
    write_clean(tmp_path / "a", Clean(), TARGETS)
    frozen = Fences.model_validate(_fences(tmp_path / "a")["fences"])
    wild = [replace(c, material_id=f"w{k}", high=1000.0 + k, content=500 + k) for k, c in enumerate(crystals(30))]
    write_stages(tmp_path / "b", [*crystals(20), *wild])
    write_clean(tmp_path / "b", Clean(fences=frozen), TARGETS)
    assert read_kept(tmp_path / "b").equals(read_kept(tmp_path / "a"))
    assert _fences(tmp_path / "b")["origin"] == "config"


def test_missing_target_is_told_and_the_material_serves_the_others(tmp_path: Path) -> None:
    made = crystals(12)
    write_stages(tmp_path, [replace(made[0], k_vrh=None), replace(made[1], k_vrh=None, band_gap=None), *made[2:]])
    write_clean(tmp_path, NO_FILTER, TARGETS)
    rows = _rejected(tmp_path)
    assert rows["stage"].tolist() == ["targets", "targets"]
    assert rows["reason"].tolist() == [Reason.NO_PROPERTY] * 2
    assert rows.loc["c000", "detail"].endswith("the source gives no value of k_vrh; used for band_gap all the same")
    assert "no target is left" in rows.loc["c001", "detail"]
    targets = pd.read_parquet(tmp_path / "dataset/targets.parquet").set_index("material_id")
    assert np.isnan(targets.loc["c000", "k_vrh"])
    assert targets.loc["c000", "band_gap"] == made[0].band_gap
    assert "c001" not in targets.index


def test_targets_keep_every_bit(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(12))
    write_clean(tmp_path, NO_FILTER, TARGETS)
    targets = pd.read_parquet(tmp_path / "dataset/targets.parquet")
    assert targets["k_vrh"].tolist() == [crystal.k_vrh for crystal in crystals(12)]


def test_unknown_target_names_near_and_available_ones(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(3))
    with pytest.raises(
        StudyError, match=r"has no g_vrh \(did you mean 'k_vrh'\?\); it has band_gap, k_vrh; add a col"
    ):
        write_clean(tmp_path, NO_FILTER, ["g_vrh"])


def test_target_without_any_value_stops_the_study(tmp_path: Path) -> None:
    write_stages(tmp_path, [replace(crystal, k_vrh=None) for crystal in crystals(5)])
    with pytest.raises(StudyError, match="none of the 5 kept materials has a value of k_vrh"):
        write_clean(tmp_path, NO_FILTER, TARGETS)


def test_nothing_left_stops_the_study_with_counts(tmp_path: Path) -> None:
    write_stages(tmp_path, [replace(crystal, rejected={"raw": Reason.EMPTY}) for crystal in crystals(5)])
    with pytest.raises(StudyError, match=r"no material is left(.|\n)*ingest: 5 x empty file(.|\n)*e.g. c"):
        write_clean(tmp_path, Clean(), TARGETS)


def test_missing_report_names_the_store(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(5))
    summary_path(tmp_path / "slices/0001.npz").unlink()
    with pytest.raises(StudyError, match=r"run the stage that makes .*slices/0001.npz again"):
        write_clean(tmp_path, NO_FILTER, TARGETS)


def test_material_that_a_stage_lost_stops_the_run(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(5))
    for path in (tmp_path / "grids").glob("*.digest.json"):
        path.write_text("{}")
    with pytest.raises(
        StudyError, match=r"grids: 5 materials are neither in a report nor rejected \(c000, c001, c002\)"
    ):
        write_clean(tmp_path, NO_FILTER, TARGETS)


def test_sodium_nitride_is_no_missing_value(tmp_path: Path) -> None:
    write_stages(tmp_path, [replace(crystals(1)[0], formula="NaN"), *crystals(3)[1:]])
    write_clean(tmp_path, NO_FILTER, TARGETS)
    assert read_kept(tmp_path).loc[0, "formula"] == "NaN"


def _add_run(root: Path, material_id: str, *, note: str | None = None, **properties: float) -> None:
    """Put what a run file says into the report of ingest."""
    for path in (root / "raw").glob("*.summary.json"):
        summary = json.loads(path.read_text())
        if material_id in summary["stats"]:
            summary["stats"][material_id]["run"] = {"properties": properties, "valence": None, "note": note}
            path.write_text(json.dumps(summary))


def _targets(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "dataset/targets.parquet").set_index("material_id")


def test_run_fills_a_gap_and_the_table_wins(tmp_path: Path) -> None:
    made = crystals(12)
    write_stages(tmp_path, [replace(made[0], band_gap=None), *made[1:]])
    _add_run(tmp_path, "c000", band_gap=0.75, k_vrh=999.0)
    _add_run(tmp_path, "c001", band_gap=0.25)
    write_clean(tmp_path, NO_FILTER, TARGETS)
    found = _targets(tmp_path)
    assert found.loc["c000"].tolist() == [made[0].k_vrh, 0.75]
    assert found.loc["c001", "band_gap"] == made[1].band_gap
    assert _rejected(tmp_path).empty


def test_target_that_only_runs_have_needs_no_column(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(6))
    for k in range(5):
        _add_run(tmp_path, f"c{k:03d}", efermi=0.5 * k)
    write_clean(tmp_path, NO_FILTER, ["efermi", "k_vrh"])
    found = _targets(tmp_path)
    assert found.columns.tolist() == ["efermi", "k_vrh"]
    assert found["efermi"].tolist()[:5] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert "gives no value of efermi; used for k_vrh" in _rejected(tmp_path).loc["c005", "detail"]


def test_unreadable_run_is_told_with_the_gap_that_it_leaves(tmp_path: Path) -> None:
    write_stages(tmp_path, crystals(6))
    _add_run(tmp_path, "c000", efermi=0.5)
    _add_run(tmp_path, "c001", note="unreadable file: x/OUTCAR: killed")
    write_clean(tmp_path, NO_FILTER, ["efermi", "k_vrh"])
    row = _rejected(tmp_path).loc["c001"]
    assert row["detail"].startswith(
        "the source gives no value of efermi (its run: unreadable file: x/OUTCAR: killed)"
    )
    assert "c001" in _targets(tmp_path).index
