"""The stage `ingest`: the density files of a shard, read, checked and written into its raw archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rhoflow.density.prototype import prototype_of
from rhoflow.density.read import Volumetric, read_density
from rhoflow.errors import RejectedMaterialError
from rhoflow.materials.archive import ArchiveWriter, structure_arrays
from rhoflow.materials.digests import digest_arrays, digest_json
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track
from rhoflow.sources.plan import read_plan


def ingest_shard(plan: Path, store: Path) -> ShardReport:
    """Read the density files of a plan into a raw archive; write the archive and its report.

    One material is in memory at a time. A file that cannot be used becomes a rejection.

    Parameters
    ----------
    plan : Path
        ``plan/<shard>.json``; relative paths in it start at the working directory.
    store : Path
        ``raw/<shard>.h5`` to write.

    Returns
    -------
    ShardReport
        Statistics of a material: ``electrons``, ``formula``, ``anonymous_formula``, ``space_group_number``,
        ``prototype``, ``n_sites``.
    """
    report = ShardReport("ingest")
    materials = read_plan(plan)
    with ArchiveWriter(store) as archive:

        def make(material_id: str, material: dict[str, Any]) -> None:
            structure_path = Path(material["structure"]) if material["structure"] else None
            density = read_density(Path(material["density"]), structure_path)
            stats = _statistics(density, material["density"])
            facts = {"electrons": density.electrons, "source": material["density"], "key": material["key"]}
            archive.add(material_id, density.structure, _fields(density), **facts)
            report.accept(material_id, _digest(density), **stats)

        progress = track(materials, total=len(materials), what=f"ingest {plan.stem}")
        report.each(((material["id"], material) for material in progress), make)
    report.write(store)
    return report


def _fields(density: Volumetric) -> dict[str, Any]:
    return {"total": density.total, **density.spin}


def _statistics(density: Volumetric, source: str) -> dict[str, Any]:
    """Facts of a crystal that the study-wide steps group and filter by."""
    composition = density.structure.composition
    try:
        prototype, space_group_number = prototype_of(density.structure)
    except RejectedMaterialError as error:
        raise RejectedMaterialError(error.reason, f"{source}: {error.detail}") from error
    return {
        "electrons": density.electrons,
        "formula": composition.reduced_formula,
        "anonymous_formula": composition.anonymized_formula,
        "space_group_number": space_group_number,
        "prototype": prototype,
        "n_sites": len(density.structure),
    }


def _digest(density: Volumetric) -> str:
    """Hash of all that later stages read of a material: densities, cell and sites."""
    arrays = _fields(density) | structure_arrays(density.structure)
    return digest_json({name: digest_arrays(array) for name, array in arrays.items()})
