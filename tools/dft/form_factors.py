"""Form factors of the outer shells of the free atoms: PBE, spherical, scalar-relativistic.

Run as ``python -m tools.dft.form_factors form_factors.npz``. With them, free-atom densities can be
superposed on any grid without GPAW.

Two origins. The occupied valence shells of GPAW's PAW sets are those of the set (``paw``). The shells below
them, which other codes' potentials treat as valence, and the elements without a set come from GPAW's
all-electron atom (``atom``): every shell of the two highest principal quantum numbers and the open f shell.
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from gpaw.atom.aeatom import AllElectronAtom
from gpaw.setup_data import SetupData

from .arrays import Floats
from .radial import form_factor

HEAVIEST = 96  # Cm: the heaviest element that the usual libraries of potentials have
HEAVIEST_SET = 83  # Bi
NOBLE = (2, 10, 18, 36, 54, 86)
Q = np.concatenate([np.arange(0, 20, 0.05), np.arange(20, 80.01, 0.25)])
"""Wave numbers [1/A]."""


@dataclass(frozen=True)
class Shell:
    """One shell: element, name such as ``3d``, electrons in the free atom, form factor at Q (1 at q = 0), origin."""

    element: str
    name: str
    occupation: float
    factor: Floats
    origin: str


def shells(element: str) -> list[Shell]:
    """Outer shells of an element, those of its PAW set first."""
    found = list(_paw_shells(element))
    have = {shell.name for shell in found}
    return found + [shell for shell in _atom_shells(element) if shell.name not in have]


def _paw_shells(element: str) -> Iterator[Shell]:
    """Occupied valence shells of the PAW set; none if there is no set."""
    if chemical_symbols.index(element) > HEAVIEST_SET:
        return
    try:
        data = SetupData(element, "PBE", readxml=True)
    except FileNotFoundError:
        return
    r = data.rgd.r_g * Bohr
    for n, momentum, f, phi in zip(data.n_j, data.l_j, data.f_j, data.phi_jg, strict=True):
        if f:
            factor = form_factor(r, phi**2 / (4 * np.pi * Bohr**3), q=Q)
            yield Shell(element, f"{n}{'spdf'[momentum]}", float(f), factor, "paw")


def _atom_shells(element: str) -> Iterator[Shell]:
    """Outer shells of the all-electron atom.

    A lanthanide also gets the 5d shell of its trivalent configuration, with an electron moved there from 4f: what
    potentials with a frozen 4f shell hold. Its occupation is that of the ground state, 0.
    """
    number = chemical_symbols.index(element)
    row = 1 + sum(number > noble for noble in NOBLE)
    ground = _solve(element)
    names = set()
    for n, momentum, f, factor in ground:
        if n >= row - 1 or (momentum == 3 and n == row - 2 and _in_f_block(number)):
            name = f"{n}{'spdf'[momentum]}"
            names.add(name)
            yield Shell(element, name, f, factor, "atom")
    if 58 <= number <= 71 and "5d" not in names:
        factor = next(factor for n, momentum, _, factor in _solve(element, trivalent=True) if (n, momentum) == (5, 2))
        yield Shell(element, "5d", 0.0, factor, "atom")


def _in_f_block(number: int) -> bool:
    return 58 <= number <= 71 or number >= 90


def _solve(element: str, *, trivalent: bool = False) -> list[tuple[int, int, float, Floats]]:
    """Principal quantum number, angular momentum, electrons and form factor of the occupied shells."""
    atom = AllElectronAtom(element, xc="PBE", log=io.StringIO())
    if trivalent:
        atom.add(4, 3, -1)
        atom.add(5, 2, +1)
    atom.initialize()
    atom.run()
    atom.refine()  # to the scalar-relativistic finite-difference solution
    r = atom.rgd.r_g * Bohr
    return [
        (index + 1 + channel.l, channel.l, float(f), form_factor(r, channel.calculate_density(index) / Bohr**3, q=Q))
        for channel in atom.channels
        for index, f in enumerate(channel.f_n)
        if f
    ]


def main() -> None:
    """Write element, shell, occupation, origin, q_inv_A and f of all elements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the .npz file to write")
    target = parser.parse_args().target
    found = [shell for element in chemical_symbols[1 : HEAVIEST + 1] for shell in shells(element)]
    np.savez_compressed(
        target,
        element=np.array([s.element for s in found]),
        shell=np.array([s.name for s in found]),
        occupation=np.array([s.occupation for s in found]),
        origin=np.array([s.origin for s in found]),
        q_inv_A=Q,
        f=np.array([s.factor for s in found], np.float32),
    )
    print(f"{target}: {len(found)} shells of {len({s.element for s in found})} elements")


if __name__ == "__main__":
    main()
