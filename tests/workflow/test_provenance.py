"""Provenance of a study that really ran: crate, journals, Snakemake's report, and no secret anywhere."""

from __future__ import annotations

import gzip
import html
import io
import json
import lzma
import os
import platform
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
import yaml
from crates import check_crate, of_type
from small_study import CRYSTALS, PLANTED, STUDY, Workspace, add_crystal
from typer.testing import CliRunner

from rhoflow.cli import app
from rhoflow.config import load_study, read_study_file
from rhoflow.errors import StudyError
from rhoflow.materials.ids import shard_of


def test_crate_of_a_real_run_is_whole_and_knows_its_jobs(finished: Workspace) -> None:
    graph = check_crate(finished.root / "provenance/crate")
    jobs = {action["name"] for action in of_type(graph, "CreateAction")}
    assert {"raw/0000, attempt 1", "grids/0001, attempt 1", "clean, attempt 1", "tables, attempt 1"} <= jobs
    assert {"train/image.k_vrh.none, attempt 1", "baselines/k_vrh, attempt 1"} <= jobs
    record = json.loads((finished.root / "provenance/lineage.json").read_text())
    assert record["dataset"]["n"] == {"listed": len(CRYSTALS), "kept": len(CRYSTALS), "rejected": 0}
    assert record["troubled"] == []
    assert record["costs"]["train"]["hosts"] == [platform.node()]
    assert record["costs"]["grids"]["jobs"] == 2
    assert record["costs"]["grids"]["code"] == [record["code"]["stages"]["grids"]]
    assert {"image", "grids", "tables"} <= set(record["benchmarks"])


def test_lineage_command_goes_back_to_every_raw_density(finished: Workspace) -> None:
    table = str(finished.root / "tables/results.csv")
    shown = CliRunner().invoke(app, ["lineage", table, "--all"])
    assert shown.exit_code == 0
    told = json.loads(CliRunner().invoke(app, ["lineage", table, "--json"]).output)
    assert [row["material_id"] for row in told["raw"]] == sorted(CRYSTALS)
    for row in told["raw"]:
        assert (finished.folder / "crystals" / row["location"]).is_file()
        assert f"{row['location']}  sha256 {row['sha256']}" in shown.output
    for kind in ("series", "runs", "checkpoints", "views", "stores", "archives"):
        assert told["made_from"][kind], kind


def test_every_table_and_figure_prints_the_lineage_id(finished: Workspace) -> None:
    lineage = json.loads((finished.root / "provenance/lineage.json").read_text())["lineage"]["id"]
    for table in finished.root.glob("tables/*.md"):
        assert lineage in table.read_text(), table
    tables = {table: pd.read_csv(table) for table in finished.root.glob("tables/*.csv")}
    assert len(tables) > 3
    for table, frame in tables.items():
        assert frame.columns[-1] == "lineage", table
        assert set(frame["lineage"]) <= {lineage}, table
    figures = sorted(finished.root.glob("figures/*.png"))
    assert figures
    for figure in figures:
        assert lineage.encode() in figure.read_bytes(), figure


@pytest.fixture(scope="module")
def snakemake_report(finished: Workspace) -> str:
    finished.run("--report", "snakemake-report.html")
    return (finished.folder / "snakemake-report.html").read_text()


def test_snakemakes_report_has_captions_categories_and_run_times(snakemake_report: str) -> None:
    for told in ("Tables", "Figures", "Provenance", "where every number comes from", "runtime"):
        assert told in snakemake_report, told


def readable(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file's bytes, and what is packed in it, with the kind of packing."""
    suffix = name.rpartition(".")[2]
    yield "plain", content
    if suffix in ("gz", "xz"):
        plain = gzip.decompress(content) if suffix == "gz" else lzma.decompress(content)
        yield suffix, plain
    elif suffix in ("zip", "npz"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for member in packed.namelist():
                yield suffix, packed.read(member)
    elif suffix == "parquet":
        yield suffix, pd.read_parquet(io.BytesIO(content)).to_csv().encode()
    elif suffix == "h5":
        told: list[str] = []
        with h5py.File(io.BytesIO(content)) as store:
            store.visititems(lambda at, node: told.append(f"{at} {dict(node.attrs)}"))
        yield suffix, "\n".join(told).encode()


def test_no_secret_and_no_folder_of_this_machine_in_what_is_published(
    finished: Workspace, snakemake_report: str
) -> None:
    ways = (str, html.escape, lambda value: json.dumps(value)[1:-1], lambda value: value.replace('"', '""'))
    secrets = {way(value) for value in PLANTED.values() for way in ways}
    forms = [form for value in secrets for form in (value.encode(), value.encode("utf-32-le"))]
    files = [path for path in finished.folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    seen: Counter[str] = Counter()
    for path in files:
        for kind, content in readable(path.name, path.read_bytes()):
            seen[kind] += 1
            assert not any(form in content for form in forms), path
    assert set(seen) >= {"plain", "xz", "zip", "npz", "parquet", "h5"}
    assert any(path.is_relative_to(finished.folder / "logs") for path in files)
    for path in (finished.root / "provenance/crate").rglob("*"):
        if path.is_file():
            assert str(finished.folder).encode() not in path.read_bytes(), path


def test_settings_that_are_published_name_the_variable_of_a_key_only(finished: Workspace) -> None:
    variable = STUDY["llm"]["api_key_variable"]
    published = (finished.root / "provenance/config.yaml").read_text()
    assert f"api_key_variable: {variable}" in published
    assert PLANTED[variable] not in published


@pytest.mark.parametrize(
    "planted",
    [
        *({"study": "x"}, {"seeds": ["x"]}, {"models": ["x"]}, {"dataset_version": "x"}, {"source": {"path": "x"}}),
        *({"llm": {"model": "x"}}, {"llm": {"role": "Use x."}}, {"llm": {"base_url": "https://h/x/v1"}}, {"x": 1}),
        {"image": {"weights": "hf:a/b?token=x"}},
    ],
    ids=str,
)
def test_secret_of_the_environment_in_the_config_stops_the_run_and_is_not_repeated(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    for secret in PLANTED.values():
        text = json.dumps(planted).replace("x", json.dumps(secret)[1:-1])
        config = json.loads(text)
        llm = STUDY["llm"] | config.get("llm", {})
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY | config | {"llm": llm}))
        with pytest.raises(StudyError, match="not shown") as told:
            read_study_file(tmp_path / "study.yaml")
        assert secret not in str(told.value)


@pytest.mark.parametrize("key", ["base_url", "api_key_variable"])
def test_secret_that_no_variable_holds_is_not_repeated_either(key: str) -> None:
    secret = "planted in config 42"
    value = f"https://{secret}@example.org/v1?api_key={secret}" if key == "base_url" else secret
    with pytest.raises(StudyError, match=f"llm.{key}") as told:
        load_study({"llm": {key: value}})
    assert secret not in str(told.value)


@pytest.mark.slow
def test_frozen_dataset_trains_nothing_again_when_data_grows(workspace: Workspace, demo: Path) -> None:
    before = os.getcwd()
    os.chdir(workspace.folder)
    try:
        frozen = CliRunner().invoke(app, ["freeze", "small", "paper-1"])
    finally:
        os.chdir(before)
    assert frozen.exit_code == 0
    kept = (workspace.root / "dataset/kept.csv").read_bytes()
    add_crystal(workspace.folder, demo, "AgCl_rocksalt")
    rows = pd.read_csv(demo / "properties.csv")
    workspace.properties = pd.concat([workspace.properties, rows[rows.material_id == "AgCl_rocksalt"]])
    workspace.configure(dataset_version="paper-1")
    ran = workspace.plan()
    shard = shard_of("AgCl_rocksalt", 2)
    assert ran.shards == sorted(f"{stage}/{shard}" for stage in ("describe", "grids", "ingest", "slices"))
    assert [job for job in ran.jobs if job.split("/")[0] in {"image", "text", "fusion", "baselines"}] == []
    assert (workspace.root / "dataset/kept.csv").read_bytes() == kept
    assert workspace.rejected()["reason"].tolist() == ["outside the dataset version"]
