"""Form factors of the occupied valence shells of the free atoms in GPAW's PAW sets.

Run as ``python -m tools.dft.form_factors form_factors.npz``. With them, free-atom densities can be
superposed on any grid without GPAW.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from gpaw.setup_data import SetupData

from .arrays import Floats
from .radial import form_factor

HEAVIEST = 83  # Bi
Q = np.concatenate([np.arange(0, 20, 0.05), np.arange(20, 80.01, 0.25)])
"""Wave numbers [1/A]."""


@dataclass(frozen=True)
class Shell:
    """One occupied shell: element, name such as ``3d``, electrons in it, form factor at Q (1 at q = 0)."""

    element: str
    name: str
    occupation: float
    factor: Floats


def shells(element: str) -> list[Shell]:
    """Occupied valence shells of an element; empty if there is no PAW set for it."""
    try:
        data = SetupData(element, "PBE", readxml=True)
    except FileNotFoundError:
        return []
    r = data.rgd.r_g * Bohr
    rows = zip(data.n_j, data.l_j, data.f_j, data.phi_jg, strict=True)
    return [
        Shell(element, f"{n}{'spdf'[momentum]}", float(f), form_factor(r, phi**2 / (4 * np.pi * Bohr**3), q=Q))
        for n, momentum, f, phi in rows
        if f
    ]


def main() -> None:
    """Write element, shell, occupation, q_inv_A and f of all elements up to Bi."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the .npz file to write")
    target = parser.parse_args().target
    found = [shell for element in chemical_symbols[1 : HEAVIEST + 1] for shell in shells(element)]
    np.savez_compressed(
        target,
        element=np.array([s.element for s in found]),
        shell=np.array([s.name for s in found]),
        occupation=np.array([s.occupation for s in found]),
        q_inv_A=Q,
        f=np.array([s.factor for s in found], np.float32),
    )
    print(f"{target}: {len(found)} shells of {len({s.element for s in found})} elements")


if __name__ == "__main__":
    main()
