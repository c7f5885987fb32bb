"""Crystals with real densities: those of resources/demo, on coarser grids, strained and re-labelled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar

Floats = NDArray[np.float64]
DEMO = Path(__file__).resolve().parents[2] / "resources" / "demo"
# small files first: the fake must be up in seconds; the last ones carry a spin density
NAMES = [
    *[f"{name}_fcc" for name in ("Cu", "Ag", "Au", "Al", "Pd", "Pt", "Ca", "Pb")],
    *[f"{name}_diamond" for name in ("C", "Si")],
    *[f"{name}_rocksalt" for name in ("MgO", "LiF", "NaF", "CdO", "CaO", "NaCl")],
    *[f"{name}_rocksalt" for name in ("TiC", "TiN", "VN", "ScN", "ZrC", "HfN")],
    *[f"{name}_zincblende" for name in ("BN", "SiC", "GaN", "BeS")],
    *[f"{name}_fluorite" for name in ("Li2O", "CaF2", "ZrO2", "TiH2", "Mg2Si")],
    *("LiAl_B32", "LiMgN_half-heusler", "Cu2ZnAl_heusler", "Fe2VAl_heusler", "Pd2LiGe_heusler"),
    *("Ni_fcc", "MnO_rocksalt", "FeN_zincblende", "CoN_zincblende"),
]
FILTER = 0.12  # A; width of the Gaussian that damps the finest waves, so that a coarse grid does not ring


@dataclass(frozen=True)
class Crystal:
    """A cell with its density.

    Attributes
    ----------
    structure : Structure
        Primitive or conventional cell [A].
    waves : (2 or 1, n, n, n) complex128 array
        Fourier coefficients of total and, for a magnetic crystal, spin density times volume [electrons] on the cell's
        own n^3 grid; wave 0 of the first is the electron count times n^3.
    electrons : int
        Valence electrons of the cell.
    properties : dict of str to float
        Row of resources/demo/properties.csv.
    energies, dos : (m,) and (2 or 1, m) float64 array
        Density of states [eV absolute; states/eV/cell].
    """

    name: str
    structure: Structure
    waves: NDArray[np.complex128]
    electrons: int
    properties: dict[str, float]
    energies: Floats
    dos: Floats

    @property
    def spin(self) -> bool:
        return len(self.waves) == 2

    def on_grid(self, n: int) -> Floats:
        """Density times volume (n, n, n) of total and spin [electrons], low-passed."""
        size = self.waves.shape[1]
        keep = np.fft.fftfreq(n, 1 / n).astype(int)
        keep = keep[np.abs(keep) < n / 2]  # the Nyquist wave goes: what stays is symmetric
        waves = np.zeros((len(self.waves), n, n, n), complex)
        waves[np.ix_(range(len(waves)), keep, keep, keep)] = self.waves[
            np.ix_(range(len(waves)), keep % size, keep % size, keep % size)
        ]
        hkl = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * 3, indexing="ij"), axis=-1)
        g = hkl @ self.structure.lattice.reciprocal_lattice.matrix
        return np.fft.ifftn(waves * np.exp(-(g**2).sum(-1) * FILTER**2 / 2), axes=(1, 2, 3)).real * (n / size) ** 3


@cache
def demo_crystal(name: str) -> Crystal:
    """Read a crystal of the project's demonstration data."""
    density = Chgcar.from_file(str(DEMO / name / "CHGCAR.xz"))
    blocks = [density.data[key] for key in ("total", "diff") if key in density.data]
    dos = json.loads((DEMO / name / "dos.json").read_text())
    return Crystal(
        name,
        density.structure,
        np.fft.fftn(np.array(blocks), axes=(1, 2, 3)),
        round(float(density.data["total"].mean())),
        _table()[name],
        np.array(dos["energy_eV"]) + dos["zero_eV"],
        np.array([dos["up"], dos["down"]] if "up" in dos else [dos["total"]]),
    )


@cache
def _table() -> dict[str, dict[str, float]]:
    table = pd.read_csv(DEMO / "properties.csv").set_index("material_id")
    return table.select_dtypes("number").astype(float).to_dict("index")  # type: ignore[return-value]


def strained(crystal: Crystal, scale: float, kind: str) -> Crystal:
    """Same charges in a strained cell: a density times volume belongs to fractional coordinates, so counts stay.

    `kind`: cubic (scale only), tetragonal (c of the cube 15 % longer), trigonal (15 % longer along the cube's 111).
    """
    along = {"cubic": np.zeros(3), "tetragonal": np.array([0, 0, 1.0]), "trigonal": np.ones(3) / np.sqrt(3)}[kind]
    strain = scale * (np.eye(3) + 0.15 * np.outer(along, along))
    lattice = Lattice(crystal.structure.lattice.matrix @ strain)
    structure = Structure(lattice, crystal.structure.species, crystal.structure.frac_coords)
    return _changed(crystal, structure, crystal.waves, crystal.electrons)


def ordered(crystal: Crystal, corner: str, scale: float) -> Crystal:
    """An L1_2 crystal (simple cubic, space group 221): the cube of an fcc metal, its corner given to another element.

    Only for elements with as many valence electrons: the density is the metal's own.
    """
    primitive = crystal.structure.lattice.matrix  # half face diagonals
    edge = np.sqrt(2) * crystal.structure.lattice.a
    ends = np.rint(np.linalg.solve(primitive.T, np.eye(3) * edge).T).astype(int)  # the cube's edges in it
    n = crystal.waves.shape[1]
    index = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1) @ ends % n
    fields = np.fft.ifftn(crystal.waves, axes=(1, 2, 3)).real[:, index[..., 0], index[..., 1], index[..., 2]] * 4
    metal = crystal.structure[0].specie.symbol
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    structure = Structure(Lattice.cubic(edge * scale), [corner, metal, metal, metal], sites)
    return _changed(crystal, structure, np.fft.fftn(fields, axes=(1, 2, 3)), 4 * crystal.electrons)


def _changed(crystal: Crystal, structure: Structure, waves: NDArray[np.complex128], electrons: int) -> Crystal:
    name = f"{structure.composition.reduced_formula} like {crystal.name}"
    return Crystal(name, structure, waves, electrons, crystal.properties, crystal.energies, crystal.dos)
