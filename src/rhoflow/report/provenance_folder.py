"""The folder ``results/<study>/provenance/``: all of a study's provenance, made in one step."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import yaml

from rhoflow.config import Study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import atomic, digest_file, write_json
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.report.lineage_path import INPUTS, LINEAGE
from rhoflow.report.methods import FILES, paragraphs, to_plain, write_methods
from rhoflow.report.provenance import Code, code_version, write_provenance
from rhoflow.report.provenance_code import uncommitted
from rhoflow.report.provenance_crate import write_crate
from rhoflow.report.provenance_page import write_page
from rhoflow.report.provenance_privacy import check_secrets, home_named
from rhoflow.report.provenance_record import Places, make_record

CRATE = "crate"
CONFIG = "config.yaml"
DIFF = "uncommitted.diff"
PAGE = "report.html"


def write_provenance_folder(places: Places, *, study: Study, code: Code | None = None) -> None:
    """Write everything below ``provenance/`` but the jobs' journals (docs/provenance.md lists the files).

    Raises
    ------
    StudyError
        If a file holds the value of a secret environment variable; then there is no crate.
    """
    code = code or code_version()
    folder = places.root / "provenance"
    write_provenance(places.root, folder / "provenance.json", study=study, code=code)
    record, inputs = make_record(places, study, code)
    _write_inputs(places.root / INPUTS, inputs)
    record["dataset"]["inputs_sha256"] = digest_file(places.root / INPUTS)
    told = paragraphs(places.root, study, record)
    write_methods(folder, told, version=code.version)
    write_page(folder / PAGE, record, [to_plain(text) for text in told])
    _write_text(folder / CONFIG, yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True))
    changed = _write_diff(folder / DIFF, places.project)
    write_json(places.root / LINEAGE, record)
    beside = [places.root / name for name in (LINEAGE, INPUTS)]
    beside += [folder / name for name in (PAGE, CONFIG, *FILES, *([DIFF] if changed else []))]
    write_crate(places.root, folder / CRATE, record, project=places.project, beside=beside)
    _check(folder / CRATE, study.llm.api_key_variable)


def _write_inputs(path: Path, inputs: pd.DataFrame) -> None:
    with atomic(path) as part:
        spreadsheet_safe(inputs).to_csv(part, index=False, lineterminator="\n")


def _write_diff(path: Path, project: Path) -> bool:
    """Write what was not committed; say whether there is anything."""
    path.unlink(missing_ok=True)
    changes = uncommitted(project)
    if changes:
        _write_text(path, changes)
    return bool(changes)


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_bytes(text.encode())


def _check(crate: Path, key_variable: str) -> None:
    """Nothing private leaves: a secret stops the step, a folder of this machine is told."""
    files = [path for path in sorted(crate.rglob("*")) if path.is_file()]
    try:
        check_secrets(files, also=[key_variable])
    except StudyError:
        shutil.rmtree(crate)
        raise
    for path in home_named(files):
        print(
            f"rhoflow: {path} names your home folder: write paths in the config relative to where snakemake runs",
            file=sys.stderr,
        )
