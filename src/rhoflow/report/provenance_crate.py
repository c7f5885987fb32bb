"""The study as a Workflow Run RO-Crate (profile Provenance Run Crate 0.5, on RO-Crate 1.1).

The crate holds what is small and decides: workflow, settings, list of inputs, content hashes of all stores, splits,
views, metrics, predictions, tables, figures. Densities, images and weights stay where they are and are known by hash.
Actions say what ran: one for the workflow, one for each attempt of each job, with the script that it ran.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from rhoflow.materials.digests import digest_file
from rhoflow.materials.shards import digest_path
from rhoflow.report.lineage import Edges
from rhoflow.report.provenance_actions import RESULTS, WORKFLOW, describe_run, scripts_of, types_of

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
_WORKFLOW_FILES = ("Snakefile", "rules/*.smk", "workflow/scripts/*.py", "envs/lock.txt", "LICENSE", "CITATION.cff")
_BIG = 2**20  # bytes
_FORMATS = {
    **{".csv": "text/csv", ".json": "application/json", ".md": "text/markdown", ".tex": "application/x-tex"},
    **{".html": "text/html", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain"},
    **{".bib": "application/x-bibtex", ".parquet": "application/vnd.apache.parquet", ".diff": "text/x-diff"},
    **{".py": "text/x-python", ".yaml": "application/yaml"},
}


def write_crate(
    root: Path, folder: Path, record: Mapping[str, Any], *, project: Path, beside: Iterable[Path]
) -> None:
    """Write the crate into `folder`, anew.

    Parameters
    ----------
    root : Path
        Result folder of the study.
    record : mapping
        `provenance_record.make_record`.
    project : Path
        Folder of the workflow.
    beside : iterable of Path
        Further files for the crate's top: lineage.json, report.html, config.yaml, inputs.csv, ...
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {path.name: path for path in beside}
    files |= {f"{RESULTS}/{name}": root / name for name in sorted(_small(root, record["from"]))}
    files |= {f"{WORKFLOW}/{path.relative_to(project).as_posix()}": path for path in _workflow_files(project)}
    for name, path in files.items():
        _place(path, folder / name)
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(CONTEXT)
    _describe_root(crate, record)
    ran = scripts_of(record)
    for name in files:
        properties = {"sha256": digest_file(folder / name), "contentSize": str((folder / name).stat().st_size)}
        properties["encodingFormat"] = _FORMATS.get(Path(name).suffix, "application/octet-stream")
        crate.add_file(
            dest_path=name,
            source=folder / name,
            properties={"@type": types_of(name, ran), "name": name, **properties},
        )
    describe_run(crate, record, sorted(files))
    crate.metadata.write(folder)


def _small(root: Path, edges: Edges) -> set[str]:
    """Files of the trail that go into the crate; of a store its content hashes."""
    names = {*edges, *(source for sources in edges.values() for source in sources)}
    inside = {_inside(root, name) for name in names}
    inside |= {f"dataset/{name}" for name in ("rejected.csv", "fences.json", "leakage.json")}
    return {name for name in inside if name and (root / name).is_file()}


def _inside(root: Path, name: str) -> str | None:
    """Name in the crate's results of a node of the trail; None if it stays outside.

    The plan and the catalogue name folders of this machine: inputs.csv says the same without.
    """
    if name.endswith(".safetensors") or name.partition("/")[0] in ("catalog", "plan", "series"):
        return None
    digests = digest_path(root / name)
    return digests.relative_to(root).as_posix() if digests.exists() else name


def _workflow_files(project: Path) -> list[Path]:
    return [path for pattern in _WORKFLOW_FILES for path in sorted(project.glob(pattern)) if path.is_file()]


def _place(source: Path, target: Path) -> None:
    """Copy a file; a big one gets a second name instead, which takes no space, where the file system can.

    Small ones are copied because people edit them in place, a script of the workflow for one: that must not reach
    the crate. What is big is a result, and results are replaced, never changed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_size > _BIG:
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)


def _describe_root(crate: ROCrate, record: Mapping[str, Any]) -> None:
    top = crate.root_dataset
    top["name"] = f"rhoflow study {record['study']}"
    top["description"] = (
        f"Results, settings and provenance of the rhoflow study {record['study']}, lineage {record['lineage']['id']}."
        " Densities, images and network weights are not included; their hashes are."
    )
    top["datePublished"] = record["written"]
    top["identifier"] = record["run_id"]
    top["license"] = "Workflow files: BSD-3-Clause. For the data, see the terms of their source."
    for address, name in PROFILES.items():
        version = address.rsplit("/", 1)[1]
        crate.add(ContextEntity(crate, address, {"@type": "CreativeWork", "name": name, "version": version}))
    top["conformsTo"] = [{"@id": address} for address in PROFILES]
    crate.metadata["conformsTo"] = [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]
