from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from rhoflow.config import Study, load_study
from rhoflow.properties import BUILT_IN
from rhoflow.report import labels
from rhoflow.report.names import table_names
from rhoflow.report.runs import Run, Series, read_series
from rhoflow.report.zeros import chance, separation, zeros_frame, zeros_sentence, zeros_table

EXACT = 1e-12


def gaps(
    root: Path, study: Study, y_true: list[float], y_pred: list[list[float]], target: str = "band_gap"
) -> Series:
    """A series with this test set, a list of predictions a run."""
    one = next(one for one in read_series(root, study) if one.model == "image")

    def run(old: Run, predicted: list[float]) -> Run:
        ids = [f"c{k}" for k in range(len(y_true))]
        table = pd.DataFrame({"material_id": ids, "part": "test", "y_true": y_true, "y_pred": predicted})
        return dataclasses.replace(old, predictions=table)

    runs = tuple(run(old, predicted) for old, predicted in zip(one.runs, y_pred, strict=False))
    return dataclasses.replace(one, target=target, runs=runs)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_separation_is_scikit_learns_area(cases: list[tuple[bool, int]]) -> None:
    zero, predicted = np.array([case[0] for case in cases]), np.array([float(case[1]) for case in cases])
    if zero.all() or not zero.any():
        assert np.isnan(separation(zero, predicted))
    else:
        assert separation(zero, predicted) == pytest.approx(roc_auc_score(~zero, predicted), abs=EXACT)


def test_numbers_of_a_zero_inflated_target(whole_small_root: Path, study: Study) -> None:
    """Two metals (one of 0.5 meV), two insulators; the second run mistakes one of each."""
    series = gaps(whole_small_root, study, [0.0, 0.0005, 1.0, 4.0], [[0.1, -0.1, 1.5, 3.0], [0.0, 2.0, 1.0, 4.0]])
    (row,) = zeros_frame([series]).to_dict("records")
    assert (row["n"], row["n_other"], row["zero_share"], row["runs"]) == (4, 2, 0.5, 2)
    assert row["mae_other_mean"] == pytest.approx((0.75 + 0.0) / 2, abs=EXACT)
    assert row["mae_other_sd"] == pytest.approx(0.75 / np.sqrt(2), abs=EXACT)
    assert row["mae_zero_mean"] == pytest.approx((0.2005 / 2 + 1.9995 / 2) / 2, abs=EXACT)
    assert row["auc_mean"] == pytest.approx((1.0 + 0.75) / 2, abs=EXACT)


def test_moments_of_either_sign_are_told_apart_by_size(whole_small_root: Path, study: Study) -> None:
    series = gaps(whole_small_root, study, [0.005, -3.0, 2.0], [[0.1, -2.0, 1.0]], target="total_magnetization")
    (row,) = zeros_frame([series]).to_dict("records")
    assert (row["n_other"], row["auc_mean"]) == (2, 1.0)


def test_only_targets_with_zeros_have_the_table(root: Path, study: Study) -> None:
    assert len(zeros_frame(read_series(root, study))) == 0
    assert not any("zeros" in name for name in table_names(study))
    with_gap = load_study({"targets": ["k_vrh", "band_gap"]})
    assert {"zeros.csv", "zeros.md"} <= set(table_names(with_gap))


def test_table_names_both_kinds(whole_small_root: Path, study: Study) -> None:
    frame = zeros_frame([gaps(whole_small_root, study, [0.0, 0.0, 0.0, 2.0], [[0.0, 0.0, 0.0, 1.0]])])
    table = zeros_table(frame, "band_gap", lineage_id="0123")
    assert table is not None
    assert "MAE non-metals [eV]" in table.header
    ((name, (row,)),) = table.groups
    assert (name, row.cells) == ("Networks", ("Image network", "–", "4", "75 %", "1.00", "0.00", "1.00"))
    assert "at most 0.001 eV" in table.caption
    assert "over 1 run." in table.caption  # of the three that the study asks for
    assert "Lineage 0123." in table.caption
    assert zeros_table(frame, "k_vrh", lineage_id="0123") is None
    assert {key for key in BUILT_IN if labels.zero_of(key)} == {"band_gap", "total_magnetization"}


def test_chance_is_the_share_of_the_orders_that_separate_as_well() -> None:
    """Of the 20 ways in which 3 of 6 numbers can be the non-zero ones, one has an area of 1 and one of 8 / 9."""
    zero = np.array([True, True, True, False, False, False])
    assert chance(zero, np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(1 / 20, abs=EXACT)
    assert chance(zero, np.array([0.0, 1.0, 3.0, 2.0, 4.0, 5.0])) == pytest.approx(2 / 20, abs=EXACT)
    assert chance(zero, np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])) == pytest.approx(1.0, abs=EXACT)
    assert np.isnan(chance(zero, np.full(6, 0.3)))
    assert np.isnan(chance(np.zeros(6, dtype=bool), np.arange(6.0)))


def test_sentence_says_who_tells_the_kinds_apart(whole_small_root: Path, study: Study) -> None:
    y_true = [0.0] * 6 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    good = gaps(whole_small_root, study, y_true, [y_true, [y + 0.1 * k for k, y in enumerate(y_true)]])
    bad = gaps(whole_small_root, study, y_true, [[1.0, 0.0] * 6])
    frame = zeros_frame([good, dataclasses.replace(bad, model="magpie-forest")])
    assert frame["p_holm"].tolist() == pytest.approx([2 * frame["p"].iloc[0], frame["p"].iloc[1]])
    said = zeros_sentence(frame, "band_gap")
    assert said is not None
    assert said.startswith("Better than chance on 12 test crystals, 6 of them non-metals")
    assert "over 2 models): Image network tells metals from non-metals; of the others it is not shown." in said
    nobody = zeros_sentence(frame.assign(p_holm=1.0), "band_gap")
    assert nobody is not None
    assert nobody.endswith("no model is shown to tell metals from non-metals.")


def test_one_kind_alone_is_no_test(whole_small_root: Path, study: Study) -> None:
    frame = zeros_frame([gaps(whole_small_root, study, [1.0, 2.0], [[1.0, 2.0]])])
    assert zeros_sentence(frame, "band_gap") == "No test: of the test crystals, 2 of 2 are non-metals."
    assert zeros_sentence(frame, "k_vrh") is None
