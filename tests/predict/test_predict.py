"""Predictions for crystals, the refusals, and that nothing but the crystal decides them."""

from __future__ import annotations

import json
import lzma
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import CRYSTALS
from vasp_text import NACL, chgcar_text, waves

from rhoflow.config import load_study
from rhoflow.density.read import read_density
from rhoflow.errors import StudyError
from rhoflow.predict import Ensemble, export_model, predict, read_exported, read_study
from rhoflow.predict.finished import PROVENANCE
from rhoflow.report.provenance import Code, write_provenance
from rhoflow.training.job import train_job

RTOL = 1e-5  # float32 networks, other batches
KNOWN = ("MgO_rocksalt", "Al_fcc")


def chgcar(demo: Path, name: str) -> Path:
    return demo / name / "CHGCAR.xz"


@pytest.mark.parametrize("model", ["image", "text", "fusion"])
def test_crystals_of_the_study_are_predicted_as_its_runs_did(finished: Path, demo: Path, model: str) -> None:
    ensemble = read_study(finished, model=model)
    runs = [
        pd.read_parquet(finished / run.weights.replace("model.safetensors", "predictions.parquet")).set_index(
            "material_id"
        )["y_pred"]
        for run in ensemble.card.runs
    ]
    assert len(runs) == 2
    found = predict(ensemble, [chgcar(demo, name) for name in KNOWN], force=True)
    for name, one in zip(KNOWN, found, strict=True):
        values = [run[name] for run in runs]
        assert one.n_runs == 2
        assert one.mean == pytest.approx(np.mean(values), rel=RTOL)
        assert one.sd == pytest.approx(np.std(values, ddof=1), rel=1e-2, abs=RTOL * abs(one.mean))
        assert values[0] != pytest.approx(values[1], rel=1e-3)


def test_a_prediction_depends_neither_on_the_others_nor_on_the_call(image: Ensemble, demo: Path) -> None:
    files = [chgcar(demo, name) for name in KNOWN]
    together = predict(image, files)
    assert together == predict(image, files)
    assert [predict(image, [file])[0] for file in files] == together
    assert together[0].mean != together[1].mean


@pytest.mark.parametrize(
    ("n", "rank"),
    # ceil(0.9 (n + 1)) by hand
    [(9, 9), (10, 10), (18, 18), (19, 18), (29, 27), (99, 90), (100, 91)],
)
def test_interval_is_mean_plus_minus_the_residual_of_that_rank(image: Ensemble, n: int, rank: int) -> None:
    residuals = tuple(np.random.default_rng(n).permutation(np.arange(1, n + 1) / 4).tolist())
    assert image.card.model_copy(update={"residuals": residuals}).half_width == rank / 4


def test_interval_comes_from_each_validation_error_once(image: Ensemble, finished: Path, demo: Path) -> None:
    runs = [finished / run.weights.replace("model.safetensors", "predictions.parquet") for run in image.card.runs]
    tables = [table[table["part"] == "val"] for table in map(pd.read_parquet, runs)]
    errors = sorted(abs(row.y_true - row.y_pred) for table in tables for row in table.itertuples())
    n = sum(len(ids) for part, ids in image.card.splits.items() if part != "test")
    assert len(errors) == n
    width = errors[int(np.ceil(0.9 * (n + 1))) - 1]
    (one,) = predict(image, [chgcar(demo, "MgO_rocksalt")])
    assert one.mean is not None
    assert (one.low, one.high) == (pytest.approx(one.mean - width), pytest.approx(one.mean + width))


def test_without_enough_residuals_there_is_no_interval(image: Ensemble, demo: Path) -> None:
    few = replace(image, card=image.card.model_copy(update={"residuals": image.card.residuals[:8]}))
    (one,) = predict(few, [chgcar(demo, "MgO_rocksalt")])
    assert one.mean is not None
    assert (one.low, one.high) == (None, None)


def test_element_that_no_run_trained_on_is_refused_and_the_others_are_predicted(image: Ensemble, demo: Path) -> None:
    refused, predicted = predict(image, [chgcar(demo, "ZnSe_zincblende"), chgcar(demo, "MgO_rocksalt")])
    assert str(refused.refused).startswith("element not in the training set: ")
    assert "Se, Zn stood in no training crystal" in str(refused.refused)
    assert refused.mean is None
    assert predicted.refused is None
    assert predicted.mean is not None


def test_force_predicts_with_the_reason_as_a_warning(image: Ensemble, demo: Path) -> None:
    (one,) = predict(image, [chgcar(demo, "ZnSe_zincblende")], force=True)
    assert one.refused is None
    assert one.mean is not None
    assert len(one.warnings) == 1
    assert "Se, Zn stood in no training crystal" in one.warnings[0]


def test_density_with_other_valence_electrons_is_refused(image: Ensemble, demo: Path, tmp_path: Path) -> None:
    whole = read_density(chgcar(demo, "NaCl_rocksalt"))
    file = tmp_path / "CHGCAR"
    file.write_bytes(chgcar_text(whole.structure, [whole.total * whole.structure.volume * 8 / 14]))
    (one,) = predict(image, [file])
    assert str(one.refused).startswith("density of another engine: ")
    assert "8.000 electrons for NaCl" in str(one.refused)
    assert "give 14.000 in this cell" in str(one.refused)


def test_file_that_cannot_be_read_is_refused_even_with_force(image: Ensemble, demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "CHGCAR"
    file.write_bytes(lzma.decompress(chgcar(demo, "Al_fcc").read_bytes())[:2000])
    bad, gone = predict(image, [file, tmp_path / "gone"], force=True)
    assert str(bad.refused).startswith("truncated file: ")
    assert str(gone.refused).startswith("unreadable file: ")
    assert str(tmp_path / "gone") in str(gone.refused)


def test_plane_or_window_that_the_crystal_lacks_is_refused_by_images_alone(
    finished: Path, image: Ensemble, tmp_path: Path
) -> None:
    file = tmp_path / "CHGCAR"
    file.write_bytes(chgcar_text(NACL, [waves((12, 12, 12), 14.0)]))  # 0.1 A off the cubic cell
    (by_image,) = predict(image, [file], force=True)
    assert str(by_image.refused).startswith("plane or window not defined: ")
    assert "crystal-0" not in str(by_image.refused)
    (by_text,) = predict(read_study(finished, model="text"), [file])
    assert by_text.refused is None


def test_field_that_the_file_lacks_is_refused(image: Ensemble, demo: Path) -> None:
    spin = replace(image, study=image.study.model_copy(update={"field": "spin"}))
    (one,) = predict(spin, [chgcar(demo, "Al_fcc")], force=True)
    assert str(one.refused).startswith("field not in file: ")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "llm"}, "unknown network 'llm'"),
        ({"model": "fusion", "target": "k_vhr"}, "--target: 'k_vhr' is none of the study's (did you mean 'k_vrh'?)"),
        ({"model": "image", "level": "formula"}, "--level: 'formula' is none of the study's; give one of none"),
    ],
)
def test_what_the_study_has_not_is_named(finished: Path, asked: dict[str, str], message: str) -> None:
    with pytest.raises(StudyError) as error:
        read_study(finished, **asked)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_unfinished_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"provenance.json does not exist: run snakemake for the study"):
        read_study(tmp_path, model="image")


def test_structures_are_one_a_density_or_one_for_all(image: Ensemble, demo: Path) -> None:
    densities = [chgcar(demo, name) for name in KNOWN]
    with pytest.raises(StudyError, match=r"3 files for 2 densities; give one a density"):
        predict(image, densities, structures=[demo / "Al_fcc/structure.cif"] * 3)


def test_structures_give_the_elements_of_files_without(image: Ensemble, demo: Path, tmp_path: Path) -> None:
    densities, structures = [], []
    for name in KNOWN:
        lines = lzma.decompress(chgcar(demo, name).read_bytes()).split(b"\n")
        assert lines[5].split()[0] == name[:2].encode()
        densities.append(tmp_path / f"{name}.CHGCAR")
        densities[-1].write_bytes(b"\n".join([b"unknown", *lines[1:5], *lines[6:]]))
        structures.append(tmp_path / f"elsewhere-{name}.poscar")
        read_density(chgcar(demo, name)).structure.to_file(str(structures[-1]), fmt="poscar")
    (without,) = predict(image, densities[:1])
    assert str(without.refused).startswith("element symbols unknown: ")
    truth = predict(image, [chgcar(demo, name) for name in KNOWN])
    given = predict(image, densities, structures=structures)
    assert [(one.formula, one.mean) for one in given] == [(one.formula, one.mean) for one in truth]
    twice = predict(image, densities[:1] * 2, structures=structures[:1])
    assert [one.mean for one in twice] == [truth[0].mean] * 2


def test_text_that_is_no_description_is_told_where_it_lacks_something(finished: Path, demo: Path) -> None:
    text = read_study(finished, model="text")
    whole = replace(text, card=text.card.model_copy(update={"level": "all"}))
    told = [predict(one, [chgcar(demo, "MgO_rocksalt")])[0].warnings for one in (text, whole)]
    assert told[0] == ()
    assert "robocrystallographer did not describe it" in told[1][0]


def test_splits_name_every_material_once(image: Ensemble) -> None:
    splits = image.card.splits
    assert sorted(one for ids in splits.values() for one in ids) == sorted(CRYSTALS)
    assert set(splits) == {"test", "fold0", "fold1"}


def test_side_inputs_are_made_as_the_study_makes_them(finished: Path, demo: Path, tmp_path: Path) -> None:
    root = shutil.copytree(finished, tmp_path / "small")
    study = load_study(json.loads((root / PROVENANCE).read_text())["config"])
    study = study.model_copy(update={"image": study.image.model_copy(update={"side_inputs": True})})
    what = {"model": "image", "target": "k_vrh", "level": "none", "runs": [(0, 0), (1, 0)]}
    train_job(study, root=root, scratch=tmp_path / "scratch", frozen=True, **what)  # type: ignore[arg-type]
    write_provenance(root, root / PROVENANCE, study=study, code=Code("0.1.0", "0" * 16, None))
    ensemble = read_study(root, model="image")
    export_model(ensemble, tmp_path / "exported")
    runs = [
        pd.read_parquet(root / run.weights.replace("model.safetensors", "predictions.parquet"))
        for run in ensemble.card.runs
    ]
    known = np.mean([run.set_index("material_id")["y_pred"]["MgO_rocksalt"] for run in runs])
    for one in (ensemble, read_exported(tmp_path / "exported")):
        assert predict(one, [chgcar(demo, "MgO_rocksalt")])[0].mean == pytest.approx(known, rel=RTOL)
