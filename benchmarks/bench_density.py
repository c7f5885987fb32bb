"""The data path read -> regrid -> slice -> normalise of one material, against what a researcher writes today.

Reference: pymatgen ``Chgcar`` -> pyrho ``ChargeDensity.get_transformed(up_sample=2)`` onto 60^3 -> ``np.tile``
8 x 8 x 8 -> ``RegularGridInterpolator``. The crystal is made here (rocksalt, 80^3 points, two blocks), so its density
is known exactly at every pixel, and both images are compared with that sum over all waves. Numbers are medians over
fresh processes that read one material each, both sides in turn: CPU after the imports, memory as the peak over what
the imports took. The reference's CPU seconds depend on how fast the kernel finds 885 MB (0.9-2.5 s on one machine).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

A = 5.65  # conventional lattice constant [A]
POINTS, GRID, CELLS, PIXELS = 80, 60, 8, 224
SIDE = (3 - np.sqrt(3)) * CELLS / 2 * A / np.sqrt(2)
PRIMITIVE = A / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
# element, fractional height on the body diagonal, electrons, width [A]
SITES = (("Na", 0.5, 8.0, 0.26), ("Cl", 0.0, 8.0, 0.34))
X, Y = np.array([1, -1, 0]) / np.sqrt(2), np.array([1, 1, -2]) / np.sqrt(6)  # z = x cross y = [111]
REPEATS = 5


def rows() -> list[dict[str, Any]]:
    """CPU, memory and error of both sides, in one run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "CHGCAR"
        write_chgcar(path)
        ours, theirs = measure(path)
    table = (("cpu_s", "CPU seconds", 20), ("peak_mb", "peak memory [MB]", 10), ("error", "error / range", 1))
    return [
        {
            "name": f"density: read, regrid, slice, normalise: {what}",
            "value": ours[key],
            "reference": theirs[key],
            "ratio": theirs[key] / ours[key],
            "goal": f">= {goal} times less" if goal > 1 else "at most the reference's",
            "ok": bool(theirs[key] >= goal * ours[key]),
        }
        for key, what, goal in table
    ]


def waves() -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Give indices (k, 3) in the primitive cell and coefficients (k,) [e/A^3] of the crystal's Gaussians."""
    half = np.arange(-(POINTS // 2) + 1, POINTS // 2)
    indices = np.stack(np.meshgrid(half, half, half, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(indices @ (2 * np.pi * np.linalg.inv(PRIMITIVE).T), axis=1)
    total = np.zeros(len(indices), dtype=complex)
    for _, height, electrons, width in SITES:
        total += electrons * np.exp(-((length * width) ** 2) / 2 - 2j * np.pi * indices.sum(axis=1) * height)
    seen = np.abs(total) > 1e-12
    return indices[seen], total[seen] / abs(np.linalg.det(PRIMITIVE))


def write_chgcar(path: Path) -> None:
    """Write the crystal as a spin-polarised CHGCAR (values rho V, 11 digits; spin a tenth of the total)."""
    indices, coefficients = waves()
    grid = np.zeros((POINTS,) * 3, dtype=complex)
    grid[tuple(indices.T)] = coefficients
    rho_times_volume = (np.fft.ifftn(grid) * grid.size).real * abs(np.linalg.det(PRIMITIVE))
    lines = ["rocksalt", "1.0", *(" ".join(f"{x:.10f}" for x in row) for row in PRIMITIVE)]
    lines += [" ".join(site[0] for site in SITES), "1 1", "Direct"]
    lines += [" ".join([f"{site[1]:.6f}"] * 3) for site in SITES]
    with path.open("w") as file:
        file.write("\n".join([*lines, ""]))
        for block in (rho_times_volume, rho_times_volume / 10):
            file.write(f"\n {POINTS} {POINTS} {POINTS}\n")
            np.savetxt(file, block.ravel(order="F").reshape(-1, 5), fmt="%.10E")


def exact_image() -> NDArray[np.float64]:
    """Density [e/A^3] at every pixel: the sum over all waves."""
    indices, coefficients = waves()
    wave_vectors = indices @ (2 * np.pi * np.linalg.inv(PRIMITIVE).T)
    offsets = pixel_offsets()
    columns = np.exp(1j * np.outer(offsets, wave_vectors @ X))
    rows_down = np.exp(-1j * np.outer(offsets, wave_vectors @ Y))
    return np.asarray(((rows_down * coefficients) @ columns.T).real)


def pixel_offsets() -> NDArray[np.float64]:
    """Pixel centres [A] from the middle of the square."""
    return np.asarray(((np.arange(PIXELS) + 0.5) / PIXELS - 0.5) * SIDE)


def with_rhoflow(path: Path) -> NDArray[np.float64]:
    """Slice [e/A^3] by rhoflow; the regridded and the scaled density are made too."""
    from rhoflow.config import Window
    from rhoflow.density.read import read_density
    from rhoflow.density.regrid import regrid
    from rhoflow.density.scaling import scale_image
    from rhoflow.density.slices import slice_image

    density = read_density(path, None)
    regrid(density.total, (GRID,) * 3)
    window = Window(cells=CELLS)
    cut = slice_image(
        density.total, density.structure, hkl=(1, 1, 1), through="heaviest", window=window, pixels=PIXELS
    )
    scale_image(cut.image)
    return cut.image


def with_today(path: Path) -> NDArray[np.float64]:
    """Slice [e/A^3] by pymatgen, pyrho, a tiled supercell and linear interpolation."""
    from pymatgen.io.vasp import Chgcar
    from pyrho.charge_density import ChargeDensity
    from scipy.interpolate import RegularGridInterpolator

    density = ChargeDensity.from_pmg(Chgcar.from_file(str(path)))
    unified = density.get_transformed(sc_mat=np.eye(3), grid_out=[GRID] * 3, up_sample=2)
    supercell = np.tile(unified.normalized_data["total"], (CELLS,) * 3)
    interpolate = RegularGridInterpolator((np.arange(GRID * CELLS),) * 3, supercell)
    x, y = np.meshgrid(pixel_offsets(), -pixel_offsets())
    frac_coords = (x[..., None] * X + y[..., None] * Y) @ np.linalg.inv(PRIMITIVE) + CELLS // 2
    image = interpolate(frac_coords * GRID)
    z = (image - image.mean()) / image.std()
    z /= np.abs(z).max()
    return np.asarray(image)


def measure(path: Path) -> list[dict[str, float]]:
    """Medians of CPU seconds, peak memory [MB] and error, of rhoflow and of the reference; one thread each."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _, side in product(range(REPEATS), SIDES):
        command = [sys.executable, "-W", "ignore", __file__, side, str(path)]
        done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
        found[side].append(json.loads(done.stdout.splitlines()[-1]))
    return [{key: statistics.median(run[key] for run in runs) for key in runs[0]} for runs in found.values()]


def main(side: str, path: Path) -> None:
    """Measure one side in this process and print what came out as JSON."""
    make, modules = SIDES[side]
    for module in modules:
        importlib.import_module(module)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    start = time.process_time()
    image = make(path)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    exact = exact_image()
    error = float(np.abs(image - exact).max() / np.ptp(exact))
    print(json.dumps({"cpu_s": seconds, "peak_mb": (peak - before) / 1e6, "error": error}))


SIDES = {
    "rhoflow": (
        with_rhoflow,
        tuple(f"rhoflow.{name}" for name in ("config", "density.read", "density.scaling", "density.slices")),
    ),
    "reference": (with_today, ("pymatgen.io.vasp", "pyrho.charge_density", "scipy.interpolate")),
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
