"""Ingest against pymatgen's reading alone, in MB of text a second and core: CHGCARs plain and packed, MP's objects.

Reading includes all checks. The whole stage also finds the prototype, hashes and writes; each archive is deleted
before the next is timed, so that there is memory for its pages at hand. The grid has the median size of the Materials
Project's densities.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar
from pymatgen.io.vasp.outputs import Chgcar

from rhoflow.density.ingest import ingest_shard
from rhoflow.density.read import read_density

GRID = (110, 110, 110)  # 1.33 M points; the median of 122,689 densities is 1.29 M
N_ELECTRONS = 8.0
SHARD = 4  # materials; real shards have some hundred
REPEATS = 7
LIMIT = 1.3  # our CPU time over theirs that is aimed at


def rows() -> list[dict[str, Any]]:
    """Read and ingest 110^3 files of two blocks; the ratio is one of CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, packed, json_object = write_files(folder)
        size = plain.stat().st_size / 1e6
        chgcar, mp = Chgcar.from_file, read_as_the_client_does
        return [
            row(folder, "read CHGCAR", size, lambda: read_density(plain), lambda: chgcar(plain)),
            row(folder, "read CHGCAR.gz", size, lambda: read_density(packed), lambda: chgcar(packed)),
            row(folder, "read MP object", size, lambda: read_density(json_object), lambda: mp(json_object)),
            row(folder, "ingest CHGCAR.gz", SHARD * size, lambda: ingest(packed), lambda: shard_of(chgcar, packed)),
            row(
                folder,
                "ingest MP object",
                SHARD * size,
                lambda: ingest(json_object),
                lambda: shard_of(mp, json_object),
            ),
            row(folder, "ingest CHGCAR", SHARD * size, lambda: ingest(plain), lambda: shard_of(chgcar, plain)),
        ]


def row(folder: Path, what: str, size: float, ours: Callable[[], Any], theirs: Callable[[], Any]) -> dict[str, Any]:
    """Time both sides in turns.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    size : float
        Of the density as CHGCAR text [MB].
    """
    our_s, their_s = cpu_seconds(folder, ours, theirs)
    return {
        "name": f"{what}, 110^3, 2 blocks [MB of CHGCAR text/s]",
        "value": size / our_s,
        "reference": size / their_s,
        "ratio": our_s / their_s,
        "goal": f"<= {LIMIT} x pymatgen's time",
        "ok": our_s <= LIMIT * their_s,
    }


def ingest(path: Path) -> None:
    """Run the stage on a shard of SHARD materials."""
    entry: dict[str, Any] = {"density": str(path), "key": "", "aeccar": [None] * 3}
    entry |= dict.fromkeys(("structure", "run", "sha256", "bytes"))
    plan = path.parent / "0000.json"
    plan.write_text(json.dumps({"materials": [entry | {"id": f"Si-{k}"} for k in range(SHARD)]}))
    settings: dict[str, Any] = {
        "field": "total",
        "raw": "native",
        "shape": (60, 60, 60),
        "connections": 1,
        "keep": None,
    }
    store = path.parent / "archive" / "0000.h5"
    report = ingest_shard(plan, store, scratch=path.parent / "scratch", **settings)
    assert not report.rejected, report.rejected


def shard_of(read: Callable[[Path], Any], path: Path) -> None:
    """Read as many densities as a shard has."""
    for _ in range(SHARD):
        read(path)


def read_as_the_client_does(path: Path) -> Chgcar:
    """Decode a density object as mp-api's client does after the download."""
    return MontyDecoder().process_decoded(orjson.loads(gzip.decompress(path.read_bytes()))["data"])


def write_files(folder: Path) -> tuple[Path, Path, Path]:
    """Write a silicon density with a spin block as CHGCAR (numbers as VASP prints them), packed, and as an object."""
    silicon = Structure(Lattice.cubic(5.43).matrix, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    rho = np.random.default_rng(0).gamma(0.5, 2 * N_ELECTRONS, GRID)
    rho *= N_ELECTRONS / rho.mean()
    blocks = {"total": rho, "diff": 0.1 * rho}
    plain, packed, json_object = (folder / name for name in ("CHGCAR", "CHGCAR.gz", "object.json.gz"))
    grid = "  ".join(str(n) for n in GRID)
    with plain.open("w") as file:
        file.write(Poscar(silicon).get_str())
        for block in blocks.values():
            file.write(f"\n  {grid}\n")
            np.savetxt(file, block.reshape(-1, 5), fmt=" %.11E")
    packed.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=6))
    document: dict[str, Any] = {"data": Chgcar(Poscar(silicon), blocks).as_dict()}
    document["data"]["data"] = {
        name: {"@module": "numpy", "@class": "array", "dtype": "float64", "data": np.round(block, 8)}
        for name, block in blocks.items()
    }
    json_object.write_bytes(gzip.compress(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)))
    return plain, packed, json_object


def cpu_seconds(folder: Path, *calls: Callable[[], Any]) -> list[float]:
    """Shortest CPU time of each call, taken in turns so that a busy machine treats all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            taken.append(time.process_time() - start)
            shutil.rmtree(folder / "archive", ignore_errors=True)
    return [min(taken) for taken in times]
