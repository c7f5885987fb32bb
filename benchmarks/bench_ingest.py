"""Reading a CHGCAR with all its checks, against pymatgen's reader alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Poscar
from pymatgen.io.vasp.outputs import Chgcar

from rhoflow.density.read import read_density

GRID = (80, 80, 80)
N_ELECTRONS = 8.0
REPEATS = 7
LIMIT = 1.3


def rows() -> list[dict[str, Any]]:
    """CPU seconds to read an 80^3 file of two blocks: ours divides, checks and counts on top."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "CHGCAR"
        write_chgcar(path)
        ours, theirs = cpu_seconds(lambda: read_density(path), lambda: Chgcar.from_file(path))
    return [
        {
            "name": "read CHGCAR 80^3, 2 blocks [CPU s]",
            "value": ours,
            "reference": theirs,
            "ratio": ours / theirs,
            "goal": f"<= {LIMIT} x pymatgen",
            "ok": ours <= LIMIT * theirs,
        }
    ]


def write_chgcar(path: Path) -> None:
    """Write a silicon CHGCAR with a spin block, numbers as VASP prints them."""
    silicon = Structure(Lattice.cubic(5.43).matrix, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    rho = np.random.default_rng(0).gamma(0.5, 2 * N_ELECTRONS, GRID)
    rho *= N_ELECTRONS / rho.mean()
    grid = "  ".join(str(n) for n in GRID)
    with path.open("w") as file:
        file.write(Poscar(silicon).get_str())
        for block in (rho, 0.1 * rho):
            file.write(f"\n  {grid}\n")
            np.savetxt(file, block.reshape(-1, 5), fmt=" %.11E")


def cpu_seconds(*calls: Callable[[], Any]) -> list[float]:
    """Shortest CPU time of each call, taken in turns so that a busy machine treats all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in times]
