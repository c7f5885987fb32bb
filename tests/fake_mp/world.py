"""What the fake knows: materials, their calculations, and what a careful client must make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from emmet.core.mpid import AlphaID
from pymatgen.core import Structure

from fake_mp.crystals import NAMES, Crystal, demo_crystal, ordered, strained

DATABASE_VERSION = "2026.11.1"
LAST_OLD_ID = 3347529  # ids up to here are written mp-<number>, later ones in letters (emmet.core.mpid)
EPOCH = datetime(2021, 1, 1, tzinfo=UTC)

# How a material is out of the ordinary; the numbers say how many of 200 are so.
ROLES = {
    "plain": 0,
    "newest_missing": 8,  # the newest static has no object in the bucket, an older one has
    "no_static": 6,  # only structure optimisations: the client's own call returns None
    "only_r2scan": 6,  # statics of another functional alone
    "no_object": 6,  # statics, but no object for any of them
    "no_task_documents": 2,  # its tasks are named, but /materials/tasks/ knows none of them
    "deprecated": 3,  # never shown unless asked for
    "no_access": 4,  # licence BY-NC: not shown to a key that has not agreed to its terms
    "new_id": 6,  # an id minted after the change to letters
}


@dataclass(frozen=True)
class Task:
    """One calculation: `number` is its id, `key` its object's name in the bucket, `grid` its points an axis."""

    number: int
    run_type: str  # GGA, GGA+U, PBEsol, r2SCAN
    kind: str  # Static, Structure Optimization, NSCF Uniform
    last_updated: datetime
    grid: int
    in_bucket: bool

    @property
    def calc_type(self) -> str:
        return f"{self.run_type} {self.kind}"

    @property
    def alpha(self) -> str:
        """The id as the database stores it."""
        return str(AlphaID(self.number, padlen=8))

    @property
    def name(self) -> str:
        """The id as objects are named, by the client's own rule: mp-<number>, for new ones mp-<letters>."""
        return AlphaID(self.alpha, prefix="mp").string

    @property
    def key(self) -> str:
        return f"chgcars/{self.name}.json.gz"


@dataclass(frozen=True)
class Expected:
    """What a correct acquisition makes of a material without faults.

    Attributes
    ----------
    task : Task or None
        The newest static task of the wanted functionals that has an object; None: no density to be had.
    skipped : tuple of Task
        Newer ones, named by the database but without an object.
    """

    task: Task | None
    skipped: tuple[Task, ...]


@dataclass
class Material:
    number: int
    role: str
    crystal: Crystal
    tasks: list[Task]
    properties: dict[str, float]
    stable: bool
    elastic: dict[str, float] | None  # c11, c12, c44 [GPa]
    text: str | None
    dos_task: Task | None
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)  # by route, as the API sends them
    metadata: dict[str, Any] = field(default_factory=dict)  # what all documents share

    @property
    def id(self) -> str:
        """The id as people write it."""
        return AlphaID(self.number, prefix="mp", padlen=8).string

    @property
    def alpha(self) -> str:
        return str(AlphaID(self.number, prefix="mp", padlen=8))

    @property
    def structure(self) -> Structure:
        return self.crystal.structure

    @property
    def space_group(self) -> int:
        return self.documents["summary"]["symmetry"]["number"]  # type: ignore[no-any-return]

    @property
    def visible(self) -> bool:
        """Whether an ordinary query shows it."""
        return self.role not in ("deprecated", "no_access")

    def statics(self, functionals: tuple[str, ...]) -> list[Task]:
        """Static tasks of some functionals, newest first."""
        if self.role == "no_task_documents":
            return []
        found = [task for task in self.tasks if task.kind == "Static" and task.run_type in functionals]
        return sorted(found, key=lambda task: task.last_updated, reverse=True)

    def expected(
        self, functionals: tuple[str, ...] = ("GGA", "GGA+U"), gone: frozenset[str] = frozenset()
    ) -> Expected:
        """Without faults, but for the objects of the keys `gone`."""
        skipped: list[Task] = []
        for task in self.statics(functionals):
            if task.in_bucket and task.key not in gone:
                return Expected(task, tuple(skipped))
            skipped.append(task)
        return Expected(None, tuple(skipped))


def make_world(n: int, seed: int) -> list[Material]:
    """Make `n` materials, in no particular order; the same for the same seed."""
    rng = np.random.default_rng(seed)
    roles = [role for role, count in ROLES.items() for _ in range(round(count * n / 200))]
    roles = [*roles[:n], *["plain"] * (n - len(roles))]
    order = rng.permutation(n)
    return [_material(int(order[i]), roles[i], rng) for i in rng.permutation(n)]


def _material(index: int, role: str, rng: np.random.Generator) -> Material:
    number = (LAST_OLD_ID + 1000 if role == "new_id" else 100001) + index
    crystal = _crystal(index, rng)
    tasks = _tasks(index, role, rng)
    bare = crystal.properties
    cubic = _elastic(bare["k_vrh_GPa"], rng) if rng.random() < 0.75 else None
    uniform = next((task for task in tasks if task.kind == "NSCF Uniform"), None)
    hull = 0.0 if rng.random() < 0.7 else round(float(rng.uniform(0.01, 0.3)), 4)
    sites, volume = len(crystal.structure), crystal.structure.volume
    moment = float(bare["total_magnetization_muB"])
    formulas = crystal.structure.composition.get_reduced_composition_and_factor()[1]
    properties = {
        "energy_per_atom": bare["energy_per_atom_eV"] + hull,
        "uncorrected_energy_per_atom": bare["energy_per_atom_eV"] + hull + 0.01 * (index % 7),
        "formation_energy_per_atom": bare["formation_energy_per_atom_eV"] + 0.001 * (index % 11),
        "energy_above_hull": hull,
        "equilibrium_reaction_energy_per_atom": -round(float(rng.uniform(0.01, 0.4)), 4),
        "band_gap": bare["band_gap_eV"],
        "efermi": bare["efermi_eV"],
        "total_magnetization": moment,
        "total_magnetization_normalized_vol": moment / volume,
        "total_magnetization_normalized_formula_units": moment / formulas,
        "num_magnetic_sites": float(sites if moment else 0),
        "num_unique_magnetic_sites": float(bool(moment)),
    }
    text = _text(crystal.structure, index) if rng.random() < 0.8 else None
    return Material(number, role, crystal, tasks, properties, hull == 0.0, cubic, text, uniform)


def _crystal(index: int, rng: np.random.Generator) -> Crystal:
    """Every tenth material is not on a cubic F lattice; no two are the same size."""
    scale = 0.97 + 0.06 * (index % 200) / 200
    if index % 20 == 9:
        corner, metal = [("Au", "Cu"), ("Cu", "Au"), ("Pt", "Pd"), ("Pd", "Pt")][index // 20 % 4]
        return ordered(demo_crystal(f"{metal}_fcc"), corner, scale)
    kind = {4: "tetragonal", 14: "trigonal"}.get(index % 20, "cubic")
    return strained(demo_crystal(NAMES[index % len(NAMES)]), scale, kind)


def _tasks(index: int, role: str, rng: np.random.Generator) -> list[Task]:
    """Structure optimisations first, then statics on different grids, so that a grid tells which one was taken."""
    kinds = [("GGA", "Structure Optimization"), ("GGA", "NSCF Uniform")]
    if role != "no_static":
        others = [functional for functional in ("GGA+U", "PBEsol", "r2SCAN") if rng.random() < 0.4]
        if role == "newest_missing":
            others = ["GGA+U", *others[1:]]
        kinds += [("r2SCAN", "Static")] if role == "only_r2scan" else [(name, "Static") for name in ["GGA", *others]]
    days = rng.permutation(1500)[: len(kinds)]
    if index % 7 == 0:
        kinds.remove(("GGA", "NSCF Uniform"))
    statics = [i for i, (name, kind) in enumerate(kinds) if kind == "Static" and name in ("GGA", "GGA+U")]
    newest = max(statics, key=lambda i: days[i], default=None)
    base = (LAST_OLD_ID - 500_000 if index % 9 else LAST_OLD_ID + 50_000) + 20 * index
    return [
        Task(
            base + i,
            name,
            kind,
            EPOCH + timedelta(days=int(days[i]), seconds=index),
            # a static's grid: 14, 16, 18, 20, in the order of the list
            14 + 2 * (i % 4) if kind == "Static" else 0,
            kind == "Static" and role != "no_object" and not (role == "newest_missing" and i == newest),
        )
        for i, (name, kind) in enumerate(kinds)
    ]


def _elastic(bulk: float, rng: np.random.Generator) -> dict[str, float]:
    """Elastic constants [GPa] of a stable cubic crystal with that bulk modulus."""
    shear = bulk * float(rng.uniform(0.3, 0.7))
    difference = shear * float(rng.uniform(1.4, 2.6))  # c11 - c12
    return {"c11": bulk + 2 * difference / 3, "c12": bulk - difference / 3, "c44": shear}


def _text(structure: Structure, index: int) -> str:
    """A description in the manner of robocrystallographer (running it would take seconds a material)."""
    formula = structure.composition.reduced_formula
    first, length = structure[0].specie.symbol, structure.lattice.a / 2
    return (
        f"{formula} crystallizes in a crystal of number {index}. {first} is bonded to its neighbours."
        f" All {first}–{structure[-1].specie.symbol} bond lengths are {length:.2f} Å."
    )
