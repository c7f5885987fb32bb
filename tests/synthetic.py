"""A study's result folder as the per-shard stages leave it, made in milliseconds from a list of crystals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rhoflow.config import Clean, DirectorySource, Splits
from rhoflow.dataset.clean import write_clean
from rhoflow.dataset.leakage import write_leakage
from rhoflow.dataset.splits import write_splits
from rhoflow.dataset.views import write_views
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.digests import digest_arrays, digest_json
from rhoflow.materials.shards import ShardReport
from rhoflow.sources.catalog import write_catalog
from rhoflow.sources.plan import plan_paths, read_plan, write_plan

PIXELS = 6
STAGES = {"raw": "ingest", "grids": "grids", "slices": "slices", "text": "describe"}
SUFFIXES = {"raw": ".h5", "grids": ".zarr.zip", "slices": ".npz", "text": ".jsonl"}
LEVELS = ("formula", "keywords", "all")
ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Ti", "V", "Fe", "Ni", "Cu", "Zn", "Al", "Si", "Ag", "Au")


@dataclass(frozen=True)
class Crystal:
    """A material and what each stage makes of it."""

    material_id: str
    formula: str = "NaCl"
    prototype: str = "AB_225_a_b"
    k_vrh: float | None = 100.0
    band_gap: float | None = 1.0
    low: float = 0.01
    high: float = 30.0
    content: int = 0
    text: str = ""
    rejected: dict[str, Reason] = field(default_factory=dict)

    @property
    def image(self) -> np.ndarray:
        return np.random.default_rng(self.content).uniform(-1, 1, (PIXELS, PIXELS)).astype(np.float32)

    @property
    def quantiles(self) -> list[float]:
        return np.linspace(self.low, self.high, 21).tolist()

    @property
    def side(self) -> tuple[float, float]:
        return 0.5 + self.content, 3.0 + self.content / 10

    @property
    def texts(self) -> dict[str, str]:
        whole = self.text or f"{self.formula} crystallizes somehow. Crystal {self.material_id}."
        return {"formula": self.formula, "keywords": f"{self.formula}.", "all": whole}


def crystals(n: int, *, seed: int = 0) -> list[Crystal]:
    """Different crystals whose bulk modulus follows the density's maximum and the formula."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(n):
        metal, high = ELEMENTS[k % len(ELEMENTS)], float(rng.uniform(20, 40))
        modulus = 4 * high + 5 * (k % len(ELEMENTS)) + float(rng.normal())
        made.append(
            Crystal(
                f"c{k:03d}",
                formula=f"{metal}{k // len(ELEMENTS) + 2}Cl",
                prototype=f"P{k % 12}",
                k_vrh=modulus,
                band_gap=float(rng.uniform(0, 5)),
                high=high,
                content=k,
            )
        )
    return made


def write_stages(root: Path, materials: Sequence[Crystal], *, n_shards: int = 3) -> None:
    """Write catalogue, plan and the stores and reports of all shards below `root`."""
    source = root / "source"
    for crystal in materials:
        (source / crystal.material_id).mkdir(parents=True, exist_ok=True)
        (source / crystal.material_id / "CHGCAR").write_text(str(crystal.content))
    rows = [f"{c.material_id},{_cell(c.k_vrh)},{_cell(c.band_gap)}" for c in materials]
    (source / "properties.csv").write_text("\n".join(["material_id,k_vrh_GPa,band_gap_eV", *rows]) + "\n")
    table, rejected = root / "catalog/materials.parquet", root / "catalog/rejected.json"
    write_catalog(DirectorySource(path=source), table, rejected, n_shards=n_shards, cache=root / "cache.json")
    write_plan(table, root / "plan", n_shards)
    by_id = {crystal.material_id: crystal for crystal in materials}
    for plan in plan_paths(root / "plan"):
        write_shard(root, plan.stem, [by_id[entry["id"]] for entry in read_plan(plan)])


def write_shard(root: Path, shard: str, members: Sequence[Crystal]) -> None:
    """Write the stores and reports of one shard; who is rejected in a stage is not seen by those behind ingest."""
    ingested = [crystal for crystal in members if "raw" not in crystal.rejected]
    for folder, stage in STAGES.items():
        report = ShardReport(stage)

        def make(material_id: str, crystal: Crystal, folder: str = folder, report: ShardReport = report) -> None:
            if folder in crystal.rejected:
                raise RejectedMaterialError(crystal.rejected[folder], f"{material_id} is bad")
            report.accept(material_id, _digest(crystal, folder), **_stats(crystal, folder))

        seen = members if folder == "raw" else ingested
        report.each([(crystal.material_id, crystal) for crystal in seen], make)
        store = root / folder / f"{shard}{SUFFIXES[folder]}"
        report.write(store)
        used = [crystal for crystal in ingested if crystal.material_id in report.digests]
        if folder == "slices":
            images = np.array([c.image for c in used]).reshape(-1, PIXELS, PIXELS).astype(np.float32)
            np.savez(store, ids=np.array([c.material_id for c in used], dtype=np.str_), image=images)
        if folder == "text":
            store.write_text("".join(json.dumps(_line(crystal)) + "\n" for crystal in used))


def write_dataset(
    root: Path,
    *,
    clean: Clean | None = None,
    splits: Splits | None = None,
    targets: Sequence[str] = ("k_vrh", "band_gap"),
) -> None:
    """Run every dataset step on a result folder."""
    splits = splits or Splits()
    write_clean(root, clean or Clean(), targets)
    write_splits(root, splits)
    write_leakage(root)
    write_views(root, targets=targets, levels=("none", "density", *LEVELS), folds=splits.folds)


def _line(crystal: Crystal) -> dict[str, Any]:
    return {"id": crystal.material_id, **crystal.texts, "origin": "fallback", "note": None}


def _digest(crystal: Crystal, folder: str) -> str:
    if folder == "text":
        return digest_json(_line(crystal))
    if folder == "slices":
        return digest_arrays(crystal.image.astype(np.float32))
    return digest_arrays(np.array([crystal.content, crystal.high]))


def _stats(crystal: Crystal, folder: str) -> dict[str, Any]:
    if folder == "raw":
        return {
            "electrons": 8.0,
            "formula": crystal.formula,
            "anonymous_formula": "AB",
            "space_group_number": 225,
            "prototype": crystal.prototype,
            "n_sites": 2,
        }
    if folder == "grids":
        return {"min": crystal.low, "max": crystal.high, "mean": 0.3, "quantiles": crystal.quantiles}
    if folder == "slices":
        side = dict(zip(("amplitude", "lattice_constant"), crystal.side, strict=True))
        return side | {"side": 10.0, "periods": [[5.0, 0.0], [0.0, 2.0 + crystal.content / 10]]}
    return {}


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
