"""What is said of a run before it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import CRYSTALS, STUDY, add_crystal

from rhoflow import preview as p
from rhoflow.config import Study, load_study
from rhoflow.errors import StudyError

TOLD = """Building DAG of jobs...
Job stats:
job       count
------  -------
ingest        2
image         4
all           1
total         7

Job stats:
job       count
------  -------
ingest       99
total        99
"""
HEAD = "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n"


@pytest.fixture
def study() -> Study:
    return load_study({"splits": {"folds": 3}, "seeds": [0, 1]})


def benchmark(folder: Path, name: str, wall: float, cpu: float | str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.tsv").write_text(f"{HEAD}{wall}\t0:00:01\t10\t50\t{cpu}\n")


def test_first_table_of_the_dry_run_counts() -> None:
    assert p.read_table(TOLD) == {"ingest": 2, "image": 4}


def test_nothing_to_do_has_no_table() -> None:
    assert p.read_table("Building DAG of jobs...\nNothing to be done (all requested files are present).\n") == {}


def test_stage_is_one_sentence_with_counts(study: Study) -> None:
    shards = {"ingest": 477, "grids": 477, "slices": 477}
    counts = p.Counts({"ingest": 2, "grids": 2, "slices": 5}, {**shards, "image": 4, "clean": 1, "tables": 1})
    assert p.sentences(counts, study) == [
        "Shards:         477 shards: 475 done, 2 to build (ingest, grids).",
        "                477 shards: 472 done, 5 to build (slices).",
        "Dataset:        1 step: all done.",
        "Trainings:      4 packs of 6 trainings: 4 done, 0 to run (image).",
        "Report:         1 step: all done.",
    ]


def test_clip_is_counted_on_every_partition(study: Study) -> None:
    splits = study.splits.model_copy(update={"repeats": 2})
    repeated = study.model_copy(update={"models": (*study.models, "clip"), "splits": splits})
    assert p.sentences(p.Counts({"clip": 1}, {"image": 2, "clip": 1}), repeated) == [
        "Trainings:      2 packs of 6 trainings: 2 done, 0 to run (image).",
        "                1 pack of 12 trainings: 0 done, 1 to run (clip).",
    ]


def test_rule_that_no_stage_knows_is_counted(study: Study) -> None:
    assert p.sentences(p.Counts({"fresh": 1}, {"fresh": 3}), study) == [
        "Other:          3 jobs: 2 done, 1 to build (fresh)."
    ]


def test_checkpoint_to_come_is_said(study: Study) -> None:
    assert "plan is an upper bound" in p.sentences(p.Counts({"plan": 1}, {"plan": 1}), study)[-1]
    assert "upper bound" not in "".join(p.sentences(p.Counts({}, {"plan": 1}), study))


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("ingest.0003.tsv", "ingest"),
        ("images.spin.0003.tsv", "images"),
        ("image.k_vrh.tsv", "image"),
        ("image-f25.k_vrh.tsv", "image"),
        ("fusion-random.k_vrh.all.fold0.seed1.tsv", "fusion"),
        ("llm.k_vrh.formula.tsv", "incontext"),
        ("baselines.k_vrh.tsv", "baselines"),
        ("baseline-variants.k_vrh.tsv", "baseline_variants"),
        ("plan.tsv", "plan"),
    ],
)
def test_benchmark_file_belongs_to_its_rule(file: str, rule: str) -> None:
    assert p.rule_of(file) == rule


def test_hours_are_jobs_times_the_mean_of_the_past(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "benchmark"
    benchmark(folder, "ingest.0000", 100.0, 200.0)
    benchmark(folder, "ingest.0001", 300.0, 400.0)
    benchmark(folder, "image.k_vrh", 7200.0, 3600.0)
    benchmark(folder, "grids.0000", 60.0, "NA")  # too short to be looked at: its wall time
    benchmark(tmp_path / "other" / "benchmark", "ingest.0000", 9999.0, 9999.0)
    costs, origin = p.past_costs("mine", tmp_path)
    assert costs["ingest"] == p.Cost(2, 200.0, 300.0)
    assert costs["grids"] == p.Cost(1, 60.0, 60.0)
    assert origin == "this study's own past jobs (4 of them)"
    lines = p.estimates({"ingest": 24, "image": 3, "clip": 1}, costs, origin, tmp_path)
    assert lines == [
        "Estimate:       5 CPU hours, from this study's own past jobs (4 of them).",  # 24 x 300 s + 3 x 1 h
        "                6 GPU hours, where trainings run on GPUs, as measured without a GPU: an upper bound.",
        "                Not counted, because they never ran: clip.",
    ]
    assert "12 GPU hours" in p.estimates({"image": 3}, costs, origin, tmp_path, 2)[1]  # 3 x 2 h on two GPUs


def test_new_study_takes_the_past_of_others_and_says_so(tmp_path: Path) -> None:
    benchmark(tmp_path / "other" / "benchmark", "ingest.0000", 10.0, 20.0)
    costs, origin = p.past_costs("mine", tmp_path)
    assert (costs["ingest"].cpu_s, origin) == (20.0, "the past jobs of other, whose shards and data differ")


def test_without_a_past_there_is_no_estimate(tmp_path: Path) -> None:
    assert p.past_costs("mine", tmp_path) == ({}, "")
    assert p.estimates({"ingest": 1}, {}, "", tmp_path)[0].startswith("No estimate of hours")
    assert p.estimates({}, {}, "", tmp_path) == ["Nothing to be done."]


def test_refusal_of_snakemake_is_told_in_its_words(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("nonsense: 1\n")
    with pytest.raises(StudyError, match=r"snakemake --dry-run failed:\n(.*\n)*.*unknown key"):
        p.count_jobs(
            ["--snakefile", str(project / "Snakefile"), "--cores", "1", "--configfile", str(tmp_path / "bad.yaml")]
        )


def test_command_counts_a_real_study(project: Path, demo: Path, tmp_path: Path) -> None:
    for name in CRYSTALS[:3]:
        add_crystal(tmp_path, demo, name)
    shutil.copy(demo / "properties.csv", tmp_path / "crystals")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    benchmark(tmp_path / "logs" / "small" / "benchmark", "ingest.0000", 3600.0, 1800.0)
    command = [str(Path(sys.executable).with_name("rhoflow")), "preview", "--configfile", "study.yaml"]
    places = ["--snakefile", str(project / "Snakefile"), "--profile", str(project / "profiles/default")]
    ended = subprocess.run([*command, *places], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[1] == "Shards:         2 shards: 0 done, 2 to build (ingest, grids, slices, describe)."
    assert "Trainings:      2 packs of 2 trainings: 0 done, 2 to run (image, text, fusion)." in lines
    assert "Estimate:       1 CPU hours, from this study's own past jobs (1 of them)." in lines
    assert not (tmp_path / "results").exists()
