"""Frozen datasets: which materials a paper's numbers are made from, whatever is added to the data later.

``datasets/<version>.json`` lists the kept materials of a finished study with the content that they had: digests of
the density as read, the grid, the image and the text, and the target values. With ``dataset_version`` set, a study
keeps exactly these. Whatever came later is processed all the same and listed as rejected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.dataset.stores import STORES, read_kept, read_reports
from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json, write_json
from rhoflow.materials.shards import ShardReport

FOLDER = Path("datasets")
_DIGITS = 16  # of a sha256: enough to notice a change, and a list of 100,000 materials stays small


@dataclass(frozen=True)
class Frozen:
    """A frozen dataset.

    Attributes
    ----------
    version : str
        Its name.
    fences : dict
        Content of dataset/fences.json.
    stages, targets : tuple of str
        Folders of the stages, and property keys.
    materials : dict of str to list
        By id: the first digits of the content digest of each stage, then the value of each target (None: none).
    """

    version: str
    fences: dict[str, Any]
    stages: tuple[str, ...]
    targets: tuple[str, ...]
    materials: dict[str, list[Any]]

    @classmethod
    def read(cls, version: str) -> Frozen:
        """Read ``datasets/<version>.json``.

        Raises
        ------
        StudyError
            If there is none.
        """
        path = version_path(version)
        if not path.is_file():
            there = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json"))) or "none"
            raise StudyError(
                f"dataset_version = {version!r}: {path} does not exist (there: {there}); copy it from the paper's"
                f" data, or make it with `rhoflow freeze <study> {version}`"
            )
        found = read_json(path)
        stages, targets = tuple(found["stages"]), tuple(found["targets"])
        return cls(found["version"], found["fences"], stages, targets, found["materials"])

    def check(self, reports: Mapping[str, ShardReport], values: pd.DataFrame) -> None:
        """Stop where a material is not what it was.

        Parameters
        ----------
        reports : dict of str to ShardReport
            Of all materials, by folder of the stage.
        values : DataFrame
            Target values, index material_id.

        Raises
        ------
        StudyError
            Naming the first material that is gone or has changed, and how many there are.
        """
        missing = sorted(set(values.columns) - set(self.targets))
        if missing:
            raise StudyError(
                f"dataset_version {self.version!r} was frozen without the target {missing[0]!r}; it has"
                f" {', '.join(self.targets)}"
            )
        changed = {key: why for key in self.materials if (why := self._change(key, reports, values))}
        if changed:
            first = min(changed)
            raise StudyError(
                f"dataset_version {self.version!r}: {first}: {changed[first]} ({len(changed)} of"
                f" {len(self.materials)} materials differ); restore its files, table and settings (field, grid,"
                " slices), or freeze a new version under another name"
            )

    def _change(self, key: str, reports: Mapping[str, ShardReport], values: pd.DataFrame) -> str | None:
        """Say what differs of one material, or None."""
        then = dict(zip([*self.stages, *self.targets], self.materials[key], strict=True))
        for folder, report in reports.items():
            if key in report.rejected:
                found = report.rejected[key]
                return f"is rejected now by {report.stage} ({found['reason']}: {found['detail']})"
            if key not in report.digests:
                return "is no longer in the source"
            if report.digests[key][:_DIGITS] != then[folder]:
                return f"its content in {folder}/ has changed"
        now = _values(values, key) if key in values.index else dict.fromkeys(values.columns)
        for target, value in now.items():
            if value != then[str(target)]:
                return f"{target} was {then[str(target)]} and is {value}"
        return None


def version_path(version: str) -> Path:
    """File of a frozen dataset, below the folder that snakemake runs in."""
    return FOLDER / f"{version}.json"


def freeze(root: Path, version: str) -> tuple[Path, int]:
    """Write ``datasets/<version>.json`` from a finished study; equal studies give equal bytes.

    Returns
    -------
    path : Path
    n : int
        How many materials it lists.

    Raises
    ------
    StudyError
        If the study is not finished, or the version is there with other content.
    """
    if not (root / "dataset/kept.csv").is_file():
        raise StudyError(f"{root / 'dataset/kept.csv'} does not exist: run snakemake for {root.name!r} first")
    kept = read_kept(root)["material_id"].tolist()
    values = pd.read_parquet(root / "dataset/targets.parquet").set_index("material_id")
    digests = {
        folder: {key: digest for report in read_reports(root, folder) for key, digest in report.digests.items()}
        for folder in STORES
    }
    content = {
        "version": version,
        "fences": read_json(root / "dataset/fences.json"),
        "stages": list(STORES),
        "targets": values.columns.tolist(),
        "materials": {
            key: [*(digests[folder][key][:_DIGITS] for folder in STORES), *_values(values, key).values()]
            for key in kept
        },
    }
    path = version_path(version)
    if path.exists() and read_json(path) != content:
        raise StudyError(f"{path} is another dataset: a version never changes; give this one another name")
    write_json(path, content)
    return path, len(kept)


def _values(values: pd.DataFrame, key: str) -> dict[str, float | None]:
    """Target values of a material, None where it has none."""
    row = values.loc[key].to_dict()
    return {str(target): None if math.isnan(value) else float(value) for target, value in row.items()}
