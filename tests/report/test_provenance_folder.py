"""The provenance folder of made-up results: crate, record, page, methods, and what must not be in them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from crates import check_crate, ids

from rhoflow.config import Study, load_study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.report.lineage import trail
from rhoflow.report.lineage_path import ancestors, by_kind, format_way, way_back
from rhoflow.report.provenance import Code
from rhoflow.report.provenance_folder import write_provenance_folder
from rhoflow.report.provenance_page import write_page
from rhoflow.report.provenance_record import Places
from rhoflow.report.tables import write_tables

KILLED = {"attempt": "a", "event": "start", "started": "2026-11-22T01:00:00.000+00:00"}
SECRET = "sk-planted-0123456789"


def attempt(name: str, script: str, minute: int, error: str | None = None, **facts: Any) -> list[dict[str, Any]]:
    start = {
        **{"event": "start", "attempt": name, "job": "x", "script": script, "code": "c" * 16, "version": "0.1.0"},
        **{
            "started": f"2026-11-22T01:{minute:02d}:00.000+00:00",
            "host": "node7",
            "python": "3.11",
            "slurm_job": "42",
        },
    }
    end = {"event": "end", "attempt": name, "seconds": 36.0, "cpu_seconds": 30.0, "max_rss_mb": 512.5, "gpus": []}
    return [start, {**end, "error": error, **facts}]


def write_journal(root: Path, job: str, lines: list[dict[str, Any]]) -> None:
    path = root / "provenance/jobs" / f"{job}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def study() -> Study:
    return load_study({"study": "made-up", "report": {"bootstrap": 100}})


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, whole_small_root: Path, study: Study, code: Code, project: Path
) -> Places:
    """Provenance of the small results, with journals of a few jobs."""
    base = tmp_path_factory.mktemp("provenance")
    root = shutil.copytree(whole_small_root, base / "results/made-up")
    write_tables(root, root / "tables", study=study, code=code)
    (root / "figures").mkdir()
    for name in ("overview", "parity_k_vrh", "distribution_k_vrh", "slices"):
        (root / f"figures/{name}.png").write_bytes(name.encode())
    write_journal(root, "grids/0000", attempt("a", "grids", 1))
    gpu = {"gpus": ["H200"], "cuda": "13.0", "driver": "580.1"}
    lines = [*attempt("a", "train", 2)[:1], *attempt("b", "train", 3, "StudyError"), *attempt("c", "train", 4, **gpu)]
    write_journal(root, "train/image.k_vrh.none", lines)
    write_journal(root, "provenance", attempt("a", "provenance", 5)[:1])
    (base / "logs/benchmark").mkdir(parents=True)
    (base / "logs/benchmark/grids.0000.tsv").write_text("s\th:m:s\tmax_rss\n3.5\t0:00:03\t210.5\n")
    (base / "logs/benchmark/splits.tsv").write_text("s\th:m:s\tmax_rss\n0.1\t0:00:00\tNA\n")
    places = Places(root, base / "logs", base / "scratch", project)
    write_provenance_folder(places, study=study, code=code)
    return places


@pytest.fixture(scope="session")
def record(made: Places) -> dict[str, Any]:
    return read_json(made.root / "provenance/lineage.json")


def test_crate_is_whole(made: Places) -> None:
    graph = check_crate(made.root / "provenance/crate")
    assert "results/tables/results.csv" in graph
    assert "workflow/Snakefile" in graph
    assert not any(name.endswith((".safetensors", ".h5", ".npz")) for name in graph)


def test_crate_says_what_each_job_read_and_made(made: Places) -> None:
    graph = check_crate(made.root / "provenance/crate")
    last = graph["#job-train-image.k_vrh.none-3"]
    runs = {f"results/runs/image/k_vrh/none/fold{fold}/seed0/metrics.json" for fold in range(3)}
    assert runs <= ids(last["result"])
    assert not any("pixels" in name or "formation" in name for name in ids(last["result"]))
    stores = {name for name in ids(last["object"]) if "/slices/" in name}
    assert {name.rsplit(".npz", 1)[1] for name in stores} == {".digest.json"}
    states = [graph[f"#job-train-image.k_vrh.none-{k}"]["actionStatus"]["@id"] for k in (1, 2, 3)]
    assert [state.rpartition("/")[2] for state in states] == [
        *("FailedActionStatus", "FailedActionStatus", "CompletedActionStatus")
    ]


def test_damaged_crate_is_noticed(made: Places, tmp_path: Path) -> None:
    crate = shutil.copytree(made.root / "provenance/crate", tmp_path / "crate")
    (crate / "results/tables/results.csv").write_text("changed")
    with pytest.raises(AssertionError, match=r"results\.csv"):
        check_crate(crate)


def test_costs_and_troubles_are_those_of_the_journals(record: dict[str, Any]) -> None:
    cost = record["costs"]["train"]
    assert (cost["jobs"], cost["attempts"], cost["failed"]) == (1, 3, 2)
    assert cost["hours"] == 0.02  # two attempts of 36 s have an end
    assert cost["gpu_hours"] == 0.01  # one of them used a GPU
    assert (cost["gpus"], cost["cuda"], cost["driver"]) == (["H200"], ["13.0"], ["580.1"])
    assert record["troubled"] == [
        {"job": "train/image.k_vrh.none", "ends": ["no end noted", "failed: StudyError", "done"], "done": True}
    ]
    assert record["benchmarks"] == {
        "grids": {"jobs": 1, "seconds": 3.5, "max_rss_mb": 210.5},
        "splits": {"jobs": 1, "seconds": 0.1, "max_rss_mb": None},
    }
    assert "provenance" not in record["costs"]  # the gathering itself is still at work


def test_record_says_who_and_what(record: dict[str, Any], project: Path, study: Study) -> None:
    assert record["run_id"] == f"made-up-20261122T010100-{record['lineage']['id']}"
    assert bool(record["code"]["commit"]) == (project / ".git").exists()
    assert {"grids", "train", "tables"} <= set(record["code"]["stages"])
    assert re.fullmatch("[0-9a-f]{64}", record["code"]["lock"])
    assert record["splits"]["parts"]["test"] > 0
    assert record["rejected"]["clean, outside the IQR fences"] == 2
    assert load_study(record["config"]) == study


def test_lineage_prints_the_way_back_and_notices_a_changed_table(made: Places, tmp_path: Path) -> None:
    table = made.root / "tables/results.csv"
    way = way_back(table)
    assert len(way["made_from"]["series"]) == 4
    assert {Path(name).parts[0] for name in way["made_from"]["stores"]} == {"grids", "slices", "text"}
    shown = format_way(way)
    assert f"lineage {way['lineage']}" in shown
    assert "... and 20 more" in shown
    root = shutil.copytree(made.root, tmp_path / "copy")
    (root / "tables/results.csv").write_text("target\n")
    with pytest.raises(StudyError, match="changed since; run snakemake again"):
        way_back(root / "tables/results.csv")


def test_searched_weights_go_back_to_what_was_chosen(small_root: Path) -> None:
    study = load_study({"study": "made-up", "search": {"models": ["image"]}})
    chosen = [f"search/image/k_vrh/none/fold{fold}.json" for fold in range(3)]
    for name in (*chosen, "tables/search.csv", "tables/results.csv"):
        (small_root / name).parent.mkdir(parents=True, exist_ok=True)
        (small_root / name).write_text("{}")
    edges = trail(small_root, study)
    assert edges["tables/search.csv"] == chosen
    assert edges[chosen[0]] == ["views/k_vrh.none.0.json"]
    assert set(chosen) <= set(ancestors(edges, "tables/results.csv"))
    assert chosen[0] in ancestors(edges, "runs/image/k_vrh/none/fold0/seed0/metrics.json")
    assert not set(chosen) & set(ancestors(edges, "runs/quantiles-ridge/k_vrh/density/fold0/seed0/metrics.json"))
    assert by_kind(chosen)["searches"] == chosen


def test_table_that_the_study_no_longer_has_is_not_in_the_trail(small_root: Path, study: Study) -> None:
    for name in (
        "tables/results.csv",
        "tables/search.csv",
        "tables/zeros.csv",
        "figures/saliency.png",
        "figures/x.png",
    ):
        (small_root / name).parent.mkdir(exist_ok=True)
        (small_root / name).touch()
    made = {name for name in trail(small_root, study) if name.startswith(("tables/", "figures/"))}
    assert made == {"tables/results.csv", "figures/saliency.png"}
    without = load_study(study.model_dump(mode="json") | {"models": ["text"]})
    assert "figures/saliency.png" not in trail(small_root, without)


def test_who_is_kept_goes_back_to_shards_of_which_nothing_is_left(small_root: Path, study: Study) -> None:
    assert "raw/0007.h5" not in ancestors(trail(small_root, study), "dataset/kept.csv")
    (small_root / "plan").mkdir(exist_ok=True)
    (small_root / "plan/0007.json").touch()
    assert {"raw/0007.h5", "plan/0007.json"} <= set(ancestors(trail(small_root, study), "dataset/kept.csv"))


def test_given_descriptions_lead_to_where_they_came_from(small_root: Path, study: Study) -> None:
    plain = trail(small_root, study)
    assert plain["text/0000.jsonl"] == ["raw/0000.h5"]
    (small_root / "plan").mkdir(exist_ok=True)
    (small_root / "plan/0000.texts.json.gz").touch()
    given = trail(small_root, study)
    assert given["text/0000.jsonl"] == ["raw/0000.h5", "plan/0000.texts.json.gz"]
    assert given["plan/0000.texts.json.gz"] == ["catalog/materials.parquet"]
    assert given["text/0001.jsonl"] == plain["text/0001.jsonl"]


def test_figure_of_a_target_goes_back_to_its_series_alone(made: Places) -> None:
    series = way_back(made.root / "figures/parity_k_vrh.png")["made_from"]["series"]
    assert {name.split("/")[2] for name in series} == {"k_vrh"}


@pytest.mark.parametrize(
    ("name", "message"), [("nothing.csv", "is not in"), ("../../else.csv", "no folder above it")]
)
def test_unknown_result_is_an_error(made: Places, name: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        way_back(made.root / name)


def test_page_is_self_contained(made: Places) -> None:
    page = (made.root / "provenance/report.html").read_text()
    assert not re.search(r"(?:src|href)=", page)
    assert "failed: StudyError" in page


def test_hostile_text_is_escaped_on_the_page(record: dict[str, Any], tmp_path: Path) -> None:
    hostile = "<b onclick=x>PBE</b>"
    dataset = {**record["dataset"], "functionals": {hostile: 3}}
    write_page(tmp_path / "page.html", {**record, "dataset": dataset, "rejected": {hostile: 1}}, [hostile])
    page = (tmp_path / "page.html").read_text()
    assert "<b " not in page
    assert page.count("&lt;b onclick=x&gt;PBE&lt;/b&gt;") == 3


def test_secret_in_a_result_stops_the_step_and_leaves_no_crate(
    made: Places, study: Study, code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(made.root, tmp_path / "results/made-up")
    (root / "tables/results.txt").write_text(f"key {SECRET}")
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with pytest.raises(
        StudyError, match=r"results\.txt holds the value of the environment variable SOME_API_KEY"
    ) as told:
        write_provenance_folder(Places(root, made.logs, made.scratch, made.project), study=study, code=code)
    assert SECRET not in str(told.value)
    assert not (root / "provenance/crate").exists()


def test_folders_of_this_machine_stay_here(made: Places, tmp_path: Path, code: Code) -> None:
    root = shutil.copytree(made.root, tmp_path / "results/made-up")
    study = load_study(
        {
            "study": "made-up",
            "report": {"bootstrap": 100},
            "source": {"path": "/home/alice/secret-project/crystals"},
            "language": {"backbone": "/home/alice/encoder"},
        }
    )
    write_provenance_folder(Places(root, made.logs, made.scratch, made.project), study=study, code=code)
    crate = root / "provenance/crate"
    for path in crate.rglob("*"):
        if path.is_file() and not path.is_relative_to(crate / "workflow") and path.suffix != ".diff":
            content = path.read_bytes()
            assert b"alice" not in content, path
            assert str(tmp_path).encode() not in content, path
    assert read_json(root / "provenance/lineage.json")["config"]["source"]["path"] == ".../crystals"


def test_editing_a_script_afterwards_does_not_reach_the_crate(
    made: Places, study: Study, code: Code, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "workflow/scripts").mkdir(parents=True)
    (project / "Snakefile").write_text("# a workflow\n")
    (project / "workflow/scripts/grids.py").write_text("# a script\n")
    root = shutil.copytree(made.root, tmp_path / "results/made-up")
    write_provenance_folder(Places(root, made.logs, made.scratch, project), study=study, code=code)
    with (project / "workflow/scripts/grids.py").open("a") as script:
        script.write("# edited in place\n")
    check_crate(root / "provenance/crate")
