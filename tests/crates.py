"""Checks of an RO-Crate's structure: what a validator would look at first, without the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/ro/wfrun/provenance/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}
# Identifiers that stand for themselves: schema.org's states of an action, and pages that explain a language.
OUTSIDE = ("http://schema.org/", "https://w3id.org/", "https://snakemake.readthedocs.io", "https://doi.org/")


def read_graph(folder: Path) -> dict[str, dict[str, Any]]:
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert metadata["@context"] == [
        *("https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context")
    ]
    ids = [entity["@id"] for entity in metadata["@graph"]]
    assert len(ids) == len(set(ids))
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            for inner in value.values():
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def types(entity: dict[str, Any]) -> set[str]:
    return {entity["@type"]} if isinstance(entity["@type"], str) else set(entity["@type"])


def of_type(graph: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [entity for entity in graph.values() if name in types(entity)]


def ids(value: Any) -> set[str]:
    return set(references(value))


def check_crate(folder: Path) -> dict[str, dict[str, Any]]:
    """Assert that a crate is whole; return its entities by id."""
    graph = read_graph(folder)
    _check_references(graph)
    _check_root(graph)
    _check_files(graph, folder)
    _check_run(graph)
    return graph


def _check_references(graph: dict[str, dict[str, Any]]) -> None:
    for entity in graph.values():
        for target in references({key: value for key, value in entity.items() if key != "@id"}):
            assert target in graph or target.startswith(OUTSIDE), (entity["@id"], target)


def _check_root(graph: dict[str, dict[str, Any]]) -> None:
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert "https://w3id.org/ro/crate/1.1" in ids(descriptor["conformsTo"])
    assert ids(root["conformsTo"]) == set(PROFILES)
    assert set(PROFILES) <= set(graph)
    for name in ("name", "description", "datePublished", "license"):
        assert root[name]
    assert types(graph[root["mainEntity"]["@id"]]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"}


def _check_files(graph: dict[str, dict[str, Any]], folder: Path) -> None:
    listed = of_type(graph, "File")
    assert {entity["@id"] for entity in listed} == ids(graph["./"]["hasPart"])
    for entity in listed:
        path = folder / entity["@id"]
        assert path.is_file(), entity["@id"]
        assert entity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), entity["@id"]
        assert entity["contentSize"] == str(path.stat().st_size)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {entity["@id"] for entity in listed} | {"ro-crate-metadata.json"}


def _check_run(graph: dict[str, dict[str, Any]]) -> None:
    """What the profile demands of workflow, steps, tools and actions."""
    workflow = graph[graph["./"]["mainEntity"]["@id"]]
    tools, steps = ids(workflow["hasPart"]), ids(workflow["step"])
    assert all(graph[step]["workExample"]["@id"] in tools for step in steps)
    (organised,) = of_type(graph, "OrganizeAction")
    runs = [action for action in of_type(graph, "CreateAction") if action["instrument"] == {"@id": workflow["@id"]}]
    assert [run["@id"] for run in runs] == [organised["result"]["@id"]]
    assert runs[0]["@id"] in ids(graph["./"]["mentions"])
    assert "SoftwareApplication" in types(graph[organised["instrument"]["@id"]])
    controls = {control["@id"]: control for control in of_type(graph, "ControlAction")}
    assert ids(organised.get("object", [])) == set(controls)
    controlled = {control["object"]["@id"] for control in controls.values()}
    jobs = [action for action in of_type(graph, "CreateAction") if action is not runs[0]]
    assert controlled == {job["@id"] for job in jobs}
    assert {job["instrument"]["@id"] for job in jobs} == tools
    assert {entity["@id"] for entity in of_type(graph, "SoftwareApplication")} == tools | {
        organised["instrument"]["@id"]
    }
    for control in controls.values():
        assert control["instrument"]["@id"] in steps
    for job in jobs:
        assert job["instrument"]["@id"] in tools
        assert job["startTime"]
        assert job["actionStatus"]["@id"].startswith("http://schema.org/")
