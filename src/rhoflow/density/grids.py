"""The stage `grids`: the densities of a shard on one grid for all materials, in one zarr file.

Layout of ``grids/<shard>.zarr.zip``: a zarr v3 group with attribute ``ids`` (list of n ids, sorted) and one array
``density``, (n, na, nb, nc) float32 [e/A^3], one chunk a material, axes along the lattice vectors of each material.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from rhoflow.density.fields import check_field, select_field
from rhoflow.density.regrid import regrid
from rhoflow.materials.archive import Record, read_archive, read_record
from rhoflow.materials.digests import atomic, digest_arrays
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track

QUANTILES = tuple(k / 20 for k in range(21))


def grid_shard(
    archive: Path, store: Path, *, field: str, shape: tuple[int, int, int], smoothing: float = 0.0
) -> ShardReport:
    """Resample the densities of a raw archive on one grid; write the grid store and its report.

    Parameters
    ----------
    archive : Path
        ``raw/<shard>.h5``.
    store : Path
        ``grids/<shard>.zarr.zip`` to write.
    field : str
        Which density, e.g. ``total``.
    shape : tuple of int
        Grid points along a, b, c.
    smoothing : float
        Width of the Gaussian filter that the densities went through [A]; see `fields.select_field`.

    Returns
    -------
    ShardReport
        Statistics of the stored grid of a material: ``min``, ``max``, ``mean`` and 21 ``quantiles`` (0 to 100 %)
        [e/A^3]; of a computed deformation also ``free_atoms``, the shells taken away, by element.
    """
    report = ShardReport("grids")
    usable: dict[str, dict[str, Any]] = {}

    def choose(material_id: str, record: Record) -> None:
        usable[material_id] = check_field(record, field)

    report.each(((record.material_id, record) for record in read_archive(archive)), choose)
    with atomic(store) as part, _new_store(part, list(usable), shape) as density:
        progress = track(
            usable, total=len(usable), what=f"grids {archive.stem}", rejected=lambda: len(report.rejected)
        )
        for k, material_id in enumerate(progress):
            native = select_field(read_record(archive, material_id), field, smoothing)
            rho = regrid(native, shape).astype(np.float32)
            density[k] = rho
            report.accept(material_id, digest_arrays(rho), **_statistics(rho), **usable[material_id])
    report.write(store)
    return report


def read_grids(store: Path) -> tuple[list[str], zarr.Array]:
    """Open a grid store.

    Returns
    -------
    ids : list of str
        Material ids, sorted.
    density : (n, na, nb, nc) float32 zarr array
        Densities [e/A^3]; ``density[k]`` reads the grid of one material, ``density[:]`` all.
    """
    group = zarr.open_group(ZipStore(store, mode="r"), mode="r")
    return list(group.attrs["ids"]), group["density"]


@contextmanager
def _new_store(path: Path, ids: list[str], shape: tuple[int, int, int]) -> Iterator[zarr.Array]:
    """Give the empty density array of a new store, which is complete when the block ends.

    The ids are written first and once: a zip file keeps every version of what is written to it.
    """
    with ZipStore(path, mode="w") as zipped:
        group = zarr.create_group(zipped, attributes={"ids": ids})
        yield group.create_array("density", shape=(len(ids), *shape), chunks=(1, *shape), dtype="float32")


def _statistics(rho: NDArray[np.float32]) -> dict[str, float | list[float]]:
    """Extremes, mean and quantiles of a grid [e/A^3], in double precision."""
    values = rho.astype(np.float64)
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "quantiles": [float(value) for value in np.quantile(values, QUANTILES)],
    }
