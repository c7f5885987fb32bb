"""A property of the study's own goes the way of the built-in ones: table, catalogue, target, training, labels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rhoflow.config import Study, load_study
from rhoflow.dataset.targets import read_targets
from rhoflow.errors import StudyError
from rhoflow.properties import BUILT_IN, PROPERTIES, ZERO_UP_TO, zero_up_to
from rhoflow.report import labels
from rhoflow.report.names import table_names
from rhoflow.sources.catalog import write_catalog
from rhoflow.training import job

SFE = "stacking_fault_energy"
TABLE = f"material_id,{SFE}_mJ_m2,k_vrh_GPa\nAl_fcc,158.5,76\nCu_fcc,39,140\n"


def _load(folder: Path | str, **own: Any) -> Study:
    own = {"label": "stacking-fault energy", "unit": "mJ/m^2"} | own
    return load_study({"source": {"path": str(folder)}, "properties": {SFE: own}, "targets": [SFE]})


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Leave the properties of this process as they were."""
    yield
    for table in (PROPERTIES, ZERO_UP_TO):
        for key in set(table) - set(BUILT_IN):
            del table[key]


@pytest.fixture
def study(tmp_path: Path, demo: Path) -> Study:
    for name in ("Al_fcc", "Cu_fcc"):
        shutil.copytree(demo / name, tmp_path / "crystals" / name)
    (tmp_path / "crystals/properties.csv").write_text(TABLE)
    return _load(tmp_path / "crystals")


def test_column_of_the_table_becomes_the_target(study: Study, tmp_path: Path) -> None:
    catalog = tmp_path / "materials.parquet"
    options = {"n_shards": 1, "cache": tmp_path / "cache.json", "field": study.field, "dos": study.dos}
    write_catalog(study.source, catalog, tmp_path / "rejected.json", **options)  # type: ignore[arg-type]
    assert read_targets(catalog, study.targets)[SFE].to_dict() == {"Al_fcc": 158.5, "Cu_fcc": 39.0}


def test_training_and_labels_name_its_unit(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packs: list[Any] = []
    monkeypatch.setattr(job, "train_pack", lambda pack, *_: packs.append(pack))
    what: dict[str, Any] = {"model": "image", "target": SFE, "level": "none", "runs": [], "frozen": True}
    job.train_job(study, root=tmp_path, scratch=tmp_path, **what)
    assert packs[0].unit == "mJ/m^2"
    assert labels.axis_label(SFE) == "stacking-fault energy [mJ/m²]"


def test_jobs_of_the_workflow_are_told(study: Study) -> None:
    PROPERTIES.clear()
    PROPERTIES.update(BUILT_IN)  # as in the process of a job
    told = study.model_dump_json(include={"properties", "targets"})
    assert Study.model_validate_json(told).targets == (SFE,)
    assert PROPERTIES[SFE].units == {"mJ_m2": 1.0}


def test_many_zeros_are_reported_where_the_study_says_so() -> None:
    assert "zeros.csv" not in table_names(_load("x"))
    some = _load("x", zero_up_to=0.5)
    assert "zeros.csv" in table_names(some)
    assert (zero_up_to(SFE), labels.zero_of(SFE)) == (0.5, labels.Zero(0.5, "crystals at zero", "other crystals"))
    assert "zeros.csv" not in table_names(_load("x"))


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"k_vrh": {"label": "bulk modulus", "unit": "kbar"}}, r"'k_vrh' is known already \(GPa\); take it out"),
        ({"Stacking": {"label": "x"}}, r"'Stacking' is no name: lower-case letters"),
        ({SFE: {"label": "x", "unit": "mJ m^-2"}}, rf"properties.{SFE}.unit = 'mJ m\^-2'"),
        ({SFE: {"lable": "x"}}, r"lable: unknown key \(did you mean 'label'\?\)"),
    ],
)
def test_bad_property_is_named(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study({"properties": properties})


def test_property_of_another_study_is_unknown() -> None:
    _load("x")
    with pytest.raises(StudyError, match=f"unknown target '{SFE}'; .* goes under properties first"):
        load_study({"targets": [SFE]})


def test_name_of_a_column_of_the_catalogue_is_refused(tmp_path: Path, study: Study) -> None:
    own = load_study({"source": study.source, "properties": {"shard": {"label": "shard"}}})
    (tmp_path / "crystals/properties.csv").write_text("material_id,shard\nAl_fcc,1\n")
    options = {"n_shards": 1, "cache": tmp_path / "cache.json", "field": own.field, "dos": own.dos}
    with pytest.raises(StudyError, match="'shard' is a name that the catalogue needs itself"):
        write_catalog(own.source, tmp_path / "m.parquet", tmp_path / "rejected.json", **options)  # type: ignore[arg-type]


def test_database_is_not_asked_for_a_property_that_another_study_brought_along() -> None:
    _load("x")
    source = {"kind": "materials_project", "ranges": {SFE: [1, 2]}}
    with pytest.raises(StudyError, match=f"unknown property '{SFE}'"):
        load_study({"source": source})
