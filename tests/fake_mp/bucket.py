"""What lies in the bucket materialsproject-parsed: gzipped densities and the table of densities of states."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from deltalake import write_deltalake
from emmet.core.arrow import arrowize
from emmet.core.band_theory import ElectronicDos
from numpy.typing import NDArray
from pymatgen.core import Element
from pymatgen.io.vasp import Chgcar, Poscar

from fake_mp.crystals import Crystal
from fake_mp.world import Material, Task

BUCKET = "materialsproject-parsed"
DOS_TABLE = "core/electronic-structure/total-dos"
CORE_WIDTH = 0.25  # A, of the Gaussian that stands for an atom's core electrons in AECCAR0


def write_bucket(materials: list[Material], folder: Path) -> None:
    """Write every object of some materials as ``folder/<key>``."""
    for kind in ("chgcars", "aeccar0s", "aeccar2s"):
        (folder / kind).mkdir(parents=True)
    for material in materials:
        for task in material.tasks:
            if task.in_bucket:
                for key, content in _objects(material.crystal, task).items():
                    (folder / key).write_bytes(content)
    _write_dos_table(materials, folder / DOS_TABLE)


def sha256_of(folder: Path, task: Task) -> str:
    return hashlib.sha256((folder / task.key).read_bytes()).hexdigest()


def _objects(crystal: Crystal, task: Task) -> dict[str, bytes]:
    """A static calculation's objects by key: CHGCAR, AECCAR0 (core) and AECCAR2 (all-electron valence)."""
    fields = crystal.on_grid(task.grid)
    valence = fields[:1]
    return {
        task.key: envelope(crystal, task, fields),
        task.key.replace("chgcars", "aeccar0s"): envelope(crystal, task, _core(crystal, task.grid)),
        task.key.replace("chgcars", "aeccar2s"): envelope(crystal, task, valence),
    }


def _core(crystal: Crystal, n: int) -> NDArray[np.float64]:
    """Core density times volume (1, n, n, n) [electrons]: Gaussians on the atoms that make up for the nuclei."""
    charges = np.array([Element(site.specie.symbol).Z for site in crystal.structure], float)
    charges *= 1 - crystal.electrons / charges.sum()
    hkl = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * 3, indexing="ij"), axis=-1)
    g = hkl @ crystal.structure.lattice.reciprocal_lattice.matrix
    phases = np.exp(-2j * np.pi * hkl @ crystal.structure.frac_coords.T) @ charges
    waves = phases * np.exp(-(g**2).sum(-1) * CORE_WIDTH**2 / 2)
    return np.fft.ifftn(waves).real[None] * n**3  # type: ignore[no-any-return]


def envelope(crystal: Crystal, task: Task, fields: NDArray[np.float64]) -> bytes:
    """An object as the bucket holds it: gzip of {fs_id, maggma_store_type, compression, data: Chgcar, task_id}."""
    names = ("total", "diff")[: len(fields)]
    # as many digits as MP's own objects have
    data = {name: np.ascontiguousarray(np.round(block, 8)) for name, block in zip(names, fields, strict=True)}
    chgcar: dict[str, Any] = Chgcar(Poscar(crystal.structure), data).as_dict()
    chgcar["data"] = {
        name: {"@module": "numpy", "@class": "array", "dtype": "float64", "data": block}
        for name, block in data.items()
    }
    document = {
        "fs_id": hashlib.sha256(task.key.encode()).hexdigest()[:24],
        "maggma_store_type": "S3Store",
        "compression": "zlib",
        "data": chgcar,
        "task_id": task.name,
    }
    return gzip.compress(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), compresslevel=1, mtime=0)


def _write_dos_table(materials: list[Material], folder: Path) -> None:
    """The Delta table that `get_dos_from_task_id` reads, in emmet's own schema, parted by functional."""
    rows = []
    for material in materials:
        if material.dos_task is None:
            continue
        dos = ElectronicDos(
            identifier=material.dos_task.alpha,
            run_type=material.dos_task.run_type,
            energies=material.crystal.energies.tolist(),
            efermi=material.properties["efermi"],
            spin_up_densities=material.crystal.dos[0].tolist(),
            spin_down_densities=material.crystal.dos[1].tolist() if material.crystal.spin else None,
        )
        rows.append(dos.model_dump(mode="json"))
    kind = arrowize(ElectronicDos)
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(kind)))
    write_deltalake(str(folder), table, partition_by=["run_type"])
