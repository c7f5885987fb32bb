"""The methods text: numbers of the study, citations that resolve, and text that LaTeX and Markdown take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import rhoflow
from rhoflow.config import Study, load_study
from rhoflow.report.methods import (
    bibliography,
    cited,
    paragraphs,
    read_references,
    to_latex,
    to_markdown,
    write_methods,
)
from rhoflow.report.methods_data import data_sentences, filtered, input_sentences
from rhoflow.report.methods_models import model_sentences, training_sentences
from rhoflow.report.provenance_inputs import rejections

RECORD: dict[str, Any] = {
    "dataset": {
        "version": "paper-1",
        "source": "materials_project",
        "database_versions": ["2025.09.25"],
        "functionals": {"GGA": 30, "GGA+U": 8},
        "texts": {"fallback": 2, "robocrystallographer": 36},
        "n": {"listed": 42, "kept": 38, "rejected": 4},
    },
    "splits": {"parts": {"test": 6, "fold 0": 16, "fold 1": 16}},
    "reporting": {"packages": {"snakemake": "9.27.1"}},
    "costs": {"train": {"hours": 2.0, "gpu_hours": 1.5}, "grids": {"hours": 0.5, "gpu_hours": 0.0}},
    "hardware": [{"cpu": "EPYC", "cpu_count": 16, "gpu": "NVIDIA H200"}],
    "code": {"version": "0.1.0", "commit": "abcdef0123456789"},
    "troubled": [{"job": "train/x", "ends": ["no end noted", "failed: StudyError", "done"], "done": True}],
    "lineage": {"id": "0123456789ab"},
}
EVERYTHING = {
    "source": {"kind": "materials_project"},
    "models": ["image", "text", "fusion", "clip"],
    "search": {"models": ["image"]},
    "slices": {"planes": 3, "transform": "arcsinh"},
}


@pytest.fixture
def study() -> Study:
    return load_study(EVERYTHING)


def test_numbers_are_those_of_the_study(small_root: Path, study: Study) -> None:
    text = " ".join(paragraphs(small_root, study, RECORD))
    for fact in (
        *("database 2025.09.25", "GGA (30), GGA+U (8)", "frozen version paper-1", "60 x 60 x 60", "(111) plane"),
        *("8 x 8 x 8 cells", "96 x 96 pixels", "Three parallel planes", "6 for the test and 32 in 3-fold"),
        *(
            "512, 384, 256",
            "dropout 0.2",
            "learning rate 2e-05",
            "20 trials",
            "2.50 hours and 1.50 GPU hours (without 1 attempt",
        ),
        *("[[ganose2019]] (36) and of formula, symmetry and sites alone, where", "failed (2) at the levels"),
        *("NVIDIA H200", "commit abcdef012345", "lineage 0123456789ab", "bulk modulus [GPa]"),
    ):
        assert fact in text, fact


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"lattice": "fcc"}, "FCC as a lattice: the cubic space groups with an F lattice (196, 202,"),
        ({"lattice": "fcc_loose"}, "FCC in the papers' looser sense: every cubic space group (195-230)"),
        ({"stable": False, "energy_above_hull_max": 0.05}, "at most 0.05 eV/atom above the hull"),
        ({"exclude_elements": ["Hg"], "nelements": [1, 2]}, "without Hg; 1 to 2 elements"),
        ({"ranges": {"k_vrh": [10, None]}}, "bulk modulus [GPa] at least 10"),
        ({"complete": True, "limit": 7}, "with all 25 properties of the papers; the first 7 in the order"),
    ],
)
def test_selection_is_told_in_a_sentence(small_root: Path, source: dict[str, Any], told: str) -> None:
    study = load_study({"source": {"kind": "materials_project", **source}})
    assert told in " ".join(data_sentences(small_root, study, RECORD))
    plain = " ".join(data_sentences(small_root, load_study(EVERYTHING), RECORD))
    assert "Selection: no restriction to a lattice; on the convex hull." in plain
    assert told not in plain


def test_storage_and_saliency_are_cited(small_root: Path, study: Study) -> None:
    keys = {key for text in paragraphs(small_root, study, RECORD) for key in cited(text)}
    assert {"collette2013", "zarr", "kokhlikyan2020", "selvaraju2017"} <= keys


def test_crystals_left_at_each_filter_add_up(small_root: Path, study: Study) -> None:
    # rejected.csv of the made-up results: one each at catalog and ingest, two at clean.
    assert filtered(small_root) == {"catalog": 1, "ingest": 1, "clean": 2}
    text = " ".join(data_sentences(small_root, study, RECORD))
    left = "Of 42 crystals 41 after cataloguing, 40 after reading the densities, 38 after the"
    assert f"{left} choice of that version were left; 38 crystals are used" in text  # the frozen one
    grown = RECORD | {"dataset": RECORD["dataset"] | {"version": None}}
    assert f"{left} outlier filter were left" in " ".join(data_sentences(small_root, study, grown))


def test_material_that_two_stages_reject_counts_at_the_first_and_a_kept_one_at_none(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/kept.csv").write_text("material_id,shard\nc,0000\nd,0000\n")
    # c lacks one target of two, d has a cell that cannot be read: both are used for the rest.
    rows = ["a,describe,x,y", "a,grids,z,y", "b,slices,x,y", "c,targets,property missing,y", "d,catalog,x,y"]
    (tmp_path / "dataset/rejected.csv").write_text("\n".join(["material_id,stage,reason,detail", *rows]) + "\n")
    assert filtered(tmp_path) == {"grids": 1, "slices": 1}
    assert rejections(tmp_path) == {"a": ("grids", "z"), "b": ("slices", "x")}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"slices": {"window": {"cells": None, "angstrom": 12}}}, "a square of 12 A"),
        ({"slices": {"plane": "densest"}}, "densest lattice plane"),
        ({"slices": {"as_published": True}}, "by interpolation on the unified grid"),
        ({"field": "spin"}, "spin density"),
        ({"clean": {"iqr_factor": None}}, "No outliers were removed"),
        ({"clean": {"iqr_factor": 3.0}}, "more than 3 interquartile ranges"),
    ],
)
def test_settings_change_the_words(config: dict[str, Any], told: str) -> None:
    assert told in " ".join(input_sentences(load_study(config), {}))
    assert told not in " ".join(input_sentences(load_study({}), {}))


def test_default_networks_are_cited_by_their_papers() -> None:
    keys = {key for text in model_sentences(load_study({})) for key in cited(text)}
    assert {"tan2019", "wang2020", "timm", "wolf2020", "massa2024", "ward2016"} <= keys
    assert not {"radford2021", "liu2019"} & keys


def test_study_without_networks_tells_no_training() -> None:
    assert training_sentences(load_study({"models": ["llm"]})) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"training": {"finetune": {"epochs": 1, "layer_decay": 0.5}}}, "at most 1 epoch, learning rate 2e-05"),
        ({"training": {"finetune": {"layer_decay": 0.5}}}, "decay 0.0001, learning rate times 0.5 from block to"),
        ({"training": {"finetune": {"unfreeze_blocks": 2}}}, "then the readout and the last 2 blocks of the"),
        ({"training": {"readout": {"clip_norm": 2}}}, "gradients no longer than 2), then"),
        ({"two_part": True}, "minimised the cross entropy of being zero or not, and of what is not the mean squared"),
        ({"training": {"precision": "auto"}}, "mixed precision with bfloat16 where the GPU has it."),
        ({"image": {"augment": "published"}}, "flipped and turned at random, as published"),
    ],
)
def test_settings_of_the_training_change_the_words(config: dict[str, Any], told: str) -> None:
    text, plain = (
        " ".join([*model_sentences(load_study(one)), *training_sentences(load_study(one))]) for one in (config, {})
    )
    assert told in text
    assert told not in plain


def test_text_says_nothing_of_parts_that_a_study_does_not_train() -> None:
    clip, image = (" ".join(training_sentences(load_study({"models": [name]}))) for name in ("clip", "image"))
    assert ("On a backbone stands" in clip, "stayed frozen" in clip) == (False, True)
    assert ("On a backbone stands" in image, "stayed frozen" in image) == (True, False)
    skipped = load_study({"training": {"finetune": {"epochs": 0}}})
    assert "then all weights" in image
    assert "all weights" not in " ".join(training_sentences(skipped))


def test_folder_of_weights_is_named_without_its_way() -> None:
    study = load_study({"language": {"backbone": "/home/alice/models/encoder"}})
    text = " ".join(model_sentences(study))
    assert "encoder" in text
    assert "alice" not in text


def test_every_citation_has_an_entry_and_only_cited_ones_are_written(
    tmp_path: Path, small_root: Path, study: Study
) -> None:
    told = paragraphs(small_root, study, RECORD)
    write_methods(tmp_path, told, version="1.2.3")
    latex, markdown = (tmp_path / "methods.tex").read_text(), (tmp_path / "methods.md").read_text()
    in_latex = {key for group in re.findall(r"\\cite\{([^}]+)\}", latex) for key in group.split(",")}
    in_markdown = set(re.findall(r"@(\w+)", markdown))
    entries = set(re.findall(r"^@\w+\{(\w+),", (tmp_path / "references.bib").read_text(), re.MULTILINE))
    assert in_latex == in_markdown == entries
    assert entries < set(read_references())
    assert "version = {1.2.3}" in (tmp_path / "references.bib").read_text()
    assert "[[" not in latex + markdown


def test_references_are_bibtex_with_unique_keys() -> None:
    bibtex = pytest.importorskip("pybtex.database", reason="pybtex comes with robocrystallographer's dependencies")
    known = read_references()
    parsed = bibtex.parse_string(bibliography(known, version="1"), "bibtex")
    assert set(parsed.entries) == set(known)
    for key, entry in parsed.entries.items():
        assert entry.fields["title"], key
        assert entry.persons["author"], key
        assert key == "rhoflow" or re.fullmatch(r"(19|20)\d\d", entry.fields["year"]), key


def test_special_characters_are_escaped() -> None:
    assert to_latex("5 % of A_1 & B [[a2001]].") == r"5 \% of A\_1 \& B~\cite{a2001}."
    assert to_markdown("A_1 [[a2001, b2002]] and [x].") == r"A\_1 [@a2001; @b2002] and \[x\]."


def test_citation_file_is_true(project: Path) -> None:
    citation = yaml.safe_load((project / "CITATION.cff").read_text())
    assert citation["version"] == rhoflow.__version__
    assert citation["references"][0]["title"] in read_references()["massa2024"]
    assert (project / "LICENSE").read_text().startswith("BSD 3-Clause") == (citation["license"] == "BSD-3-Clause")
