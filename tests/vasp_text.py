"""Write small VASP density files as VASP does, for the tests of the reader."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from pymatgen.core import Lattice, Structure

NACL = Structure(
    Lattice([[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.1]]), ["Na", "Cl"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
)


def waves(shape: tuple[int, int, int], mean: float, seed: int = 0) -> np.ndarray:
    """A smooth periodic field without symmetry: every axis and every sign of it is told apart."""
    rng = np.random.default_rng(seed)
    frac = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    field = np.full(shape, float(mean))
    for h in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 1)]:
        phase = 2 * np.pi * sum(k * x for k, x in zip(h, frac, strict=True))
        field += 0.3 * mean * rng.uniform(-1, 1) * np.cos(phase + rng.uniform(0, 6))
    return field - field.mean() + mean


def chgcar_text(structure: Structure, blocks: list[np.ndarray], *, columns: int = 5, occupancies: int = 7, **header):
    """Bytes of a CHGCAR (5 columns, 11 digits, augmentation) or CHG (10 columns, 5 digits, no augmentation).

    Parameters
    ----------
    blocks : list of (na, nb, nc) arrays
        Density times volume [e].
    **header
        See `poscar_text`.
    """
    text = poscar_text(structure, **header) + "\n"
    for k, block in enumerate(blocks):
        if k > 0:  # VASP writes a moment a site before each further block
            text += rows([0.125] * len(structure), 5, lambda x: f"{x:20.12E}")
        text += f"{block.shape[0]:5d}{block.shape[1]:5d}{block.shape[2]:5d}\n"
        text += rows(block.ravel(order="F"), columns, fortran if columns == 5 else g11_5)
        for site in range(len(structure) if columns == 5 else 0):
            text += f"augmentation occupancies{site + 1:4d}{occupancies:4d}\n"
            text += rows([0.5] * occupancies, 5, lambda x: f"{x:15.7E}")
    return text.encode()


def poscar_text(structure, *, symbols=True, scale=1.0, cartesian=False, selective=False, suffix="") -> str:
    """POSCAR part; `scale` is written as given, with coordinates and lattice to match it."""
    factor = np.cbrt(-scale / structure.volume) if scale < 0 else scale
    coords = structure.cart_coords / factor if cartesian else structure.frac_coords
    names, counts = zip(
        *((k, len(list(g))) for k, g in groupby(site.specie.symbol for site in structure)), strict=True
    )
    lines = ["unknown system                          ", f"  {scale:.14f}"]
    lines += [" ".join(f"{x:17.12f}" for x in row) for row in structure.lattice.matrix / factor]
    lines += ["  " + "  ".join(name + suffix for name in names)] if symbols else []
    lines += ["  " + "  ".join(str(count) for count in counts)]
    lines += ["Selective dynamics"] if selective else []
    lines += ["Cartesian" if cartesian else "Direct"]
    lines += [" ".join(f"{x:17.12f}" for x in row) + (" T T F" if selective else "") for row in coords]
    return "\n".join(lines) + "\n"


def rows(values, columns: int, form) -> str:
    """Fortran's rows: every value after a blank, the last line padded as VASP pads it."""
    words = [form(value) for value in values]
    lines = [" " + " ".join(words[k : k + columns]) for k in range(0, len(words), columns)]
    missing = -len(words) % columns
    return "\n".join(lines) + " " * (missing * 12) + "\n"


def fortran(x: float) -> str:
    """E17.11: 0.12345678901E+02, -.12345678901E+02; the E falls away before three digits."""
    mantissa, exponent = f"{abs(x):.10E}".split("E")
    power = int(exponent) + 1 if x else 0
    tail = f"E{power:+03d}" if abs(power) < 100 else f"{power:+04d}"
    return ("-." if x < 0 else "0.") + mantissa.replace(".", "") + tail


def g11_5(x: float) -> str:
    """G11.5 as in CHG: five digits."""
    return f"{x:<#11.5g}"
