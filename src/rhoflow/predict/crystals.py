"""New crystals through the study's own stages: a shard of their own in a temporary folder.

So a new crystal is read, checked, cut and described by the very code that made the training data.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from rhoflow.config import Study
from rhoflow.density.grids import grid_shard
from rhoflow.density.images import slice_shard
from rhoflow.density.ingest import ingest_shard
from rhoflow.materials.archive import read_record
from rhoflow.materials.digests import write_json
from rhoflow.materials.shards import ShardReport
from rhoflow.text.shards import describe_shard, read_texts

_PACKED = ("", ".gz", ".xz", ".bz2")
_DENSITY = re.compile(r"CHGCAR|CHG")
_PACKING = re.compile(r"\.(?:gz|xz|bz2)$")
_RUNS = ("vasprun.xml", "OUTCAR")


@dataclass(frozen=True)
class NewCrystal:
    """A new crystal as the networks see it.

    Attributes
    ----------
    file : str
        Its density file, as it was given.
    rejected : str or None
        Why it cannot be used; the other attributes may then be None.
    composition : dict of str to float
        Atoms in the cell.
    electrons : float
        In the cell.
    extremes : tuple of 2 float, or None
        Minimum and maximum of the field on the unified grid [e/A^3]; None where no image is made.
    image : (p, p) or (3, p, p) float32 array or None
        In [-1, 1].
    side : tuple of 2 float, or None
        Amplitude of the slice [e/A^3] and lattice constant [A].
    text : str or None
        Of the level asked for.
    undescribed : str or None
        Why there is only the fall-back text, which lacks what the level has; None otherwise.
    """

    file: str
    rejected: str | None = None
    composition: dict[str, float] | None = None
    electrons: float | None = None
    extremes: tuple[float, float] | None = None
    image: NDArray[np.float32] | None = None
    side: tuple[float, float] | None = None
    text: str | None = None
    undescribed: str | None = None

    @property
    def formula(self) -> str | None:
        """Reduced formula."""
        return str(Composition(self.composition).reduced_formula) if self.composition else None


def read_crystals(
    densities: Sequence[Path], study: Study, *, structures: Sequence[Path], images: bool, level: str | None
) -> list[NewCrystal]:
    """Read density files and make the inputs of a network, in the order given.

    Parameters
    ----------
    study : Study
        Its sections field, raw, deformation, grid, slices and text are used.
    structures : sequence of Path
        CIF or POSCAR files with the elements of VASP 4 files, one a density; or none.
    images : bool
        Whether the network reads images.
    level : str or None
        Text level, where the network reads text.
    """
    with tempfile.TemporaryDirectory(prefix="rhoflow-predict-") as folder:
        shard = _Shard(Path(folder), study)
        shard.ingest(densities, structures)
        if images:
            shard.slice()
        if level:
            shard.describe(level)
        return [shard.crystal(_id(k), str(path)) for k, path in enumerate(densities)]


def _id(number: int) -> str:
    return f"crystal-{number + 1:05d}"


class _Shard:
    """The stages on one shard; `rejected` is the first reason of each crystal."""

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder, self.study = folder, study
        self.archive = folder / "raw.h5"
        self.rejected: dict[str, str] = {}
        self.extremes: dict[str, tuple[float, float]] = {}
        self.images: dict[str, NDArray[np.float32]] = {}
        self.sides: dict[str, tuple[float, float]] = {}
        self.texts: dict[str, str] = {}
        self.undescribed: dict[str, str] = {}

    def ingest(self, densities: Sequence[Path], structures: Sequence[Path]) -> None:
        plan = self.folder / "new.json"
        paired = zip(densities, structures or repeat(None, len(densities)), strict=True)
        materials = [_entry(_id(k), path, structure) for k, (path, structure) in enumerate(paired)]
        write_json(plan, {"shard": "new", "materials": materials})
        report = ingest_shard(
            plan,
            self.archive,
            field=self.study.field,
            raw=self.study.raw,
            shape=self.study.grid.shape,
            scratch=self.folder / "scratch",
            connections=1,
            keep=None,
        )
        self._note(report)

    def slice(self) -> None:
        study, store = self.study, self.folder / "slices.npz"
        smoothing, shape = study.deformation.smoothing, study.grid.shape
        grids = grid_shard(
            self.archive, self.folder / "grids.zarr.zip", field=study.field, shape=shape, smoothing=smoothing
        )
        self._note(grids)
        self.extremes = {name: (stats["min"], stats["max"]) for name, stats in grids.stats.items()}
        slices = slice_shard(
            self.archive, store, field=study.field, options=study.slices, shape=shape, smoothing=smoothing
        )
        self._note(slices)
        self.sides = {name: (one["amplitude"], one["lattice_constant"]) for name, one in slices.stats.items()}
        with np.load(store, allow_pickle=False) as arrays:
            self.images = dict(zip(arrays["ids"].tolist(), arrays["image"], strict=True))

    def describe(self, level: str) -> None:
        store = self.folder / "text.jsonl"
        describe_shard(self.archive, store, timeout_s=self.study.text.timeout_s)
        texts = read_texts(store)
        self.texts = {name: str(text[level]) for name, text in texts.items()}
        if level != "formula":  # which both kinds of text open with
            fallen = {name: str(text["note"]) for name, text in texts.items() if text["origin"] == "fallback"}
            self.undescribed = fallen

    def crystal(self, name: str, file: str) -> NewCrystal:
        rejected = self.rejected.get(name, "").replace(name, file) or None
        try:
            record = read_record(self.archive, name)
        except KeyError:
            return NewCrystal(file, rejected)
        return NewCrystal(
            file,
            rejected,
            dict(record.structure.composition.get_el_amt_dict()),
            float(record.attrs["electrons"]),
            self.extremes.get(name),
            self.images.get(name),
            self.sides.get(name),
            self.texts.get(name),
            self.undescribed.get(name),
        )

    def _note(self, report: ShardReport) -> None:
        for name, why in report.rejected.items():
            self.rejected.setdefault(name, f"{why['reason']}: {why['detail']}")


def _entry(name: str, density: Path, structure: Path | None) -> dict[str, Any]:
    """Entry of a plan: the density and what lies beside it, called as the `directory` source has it."""
    runs = [beside(density, kind) for kind in _RUNS]
    return {
        "id": name,
        "density": str(density),
        "structure": str(structure) if structure else None,
        "run": next((run for run in runs if run), None),
        "aeccar": [beside(density, f"AECCAR{k}") for k in range(3)],
        "dos": None,
        "sha256": None,
        "bytes": None,
        "key": name,
    }


def beside(density: Path, kind: str) -> str | None:
    """Path of the file of another kind of the same run, packed in whatever way; None without one."""
    name = _PACKING.sub("", density.name)
    if not _DENSITY.search(name):
        return None
    other = _DENSITY.sub(kind, name, count=1)
    found = (density.with_name(other + packed) for packed in _PACKED)
    return next((str(path) for path in found if path.is_file()), None)
