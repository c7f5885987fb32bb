"""The API's documents of a material, made by emmet's own models: a field that MP does not have fails here."""

from __future__ import annotations

import json
from typing import Any

from emmet.core.base import EmmetMeta
from emmet.core.elasticity import BulkModulus, ElasticityDoc, ElasticTensorDoc, ShearModulus
from emmet.core.electronic_structure import DosData, DosSummaryData, ElectronicStructureDoc
from emmet.core.robocrys import CondensedStructureData, MineralData, RobocrystallogapherDoc
from emmet.core.summary import HasProps, SummaryDoc
from emmet.core.symmetry import SymmetryData
from emmet.core.tasks import CoreTaskDoc
from emmet.core.types.enums import TaskState
from emmet.core.types.typing import format_identifier, format_task_id
from emmet.core.vasp.calculation import CalculationInput, PotcarSpec
from emmet.core.vasp.material import MaterialsDoc
from pymatgen.analysis.magnetism import Ordering

from fake_mp.world import DATABASE_VERSION, Material, Task

ROUTES = ("summary", "core", "robocrys", "elasticity", "electronic_structure")
CONTROLLED_BATCH = "gnome_r2scan_statics"
COMPOSITION = (
    *("elements", "nelements", "composition", "composition_reduced", "formula_pretty", "formula_anonymous"),
    "chemsys",
)
_SYMMETRIES: dict[Any, SymmetryData] = {}


def describe(material: Material) -> None:
    """Fill in a material's documents, ids in the form in which the database stores them (letters)."""
    common = _common(material)
    documents: dict[str, Any] = {
        "summary": SummaryDoc(**common, **_summary(material)),
        "core": MaterialsDoc(**common, **_core(material)),
        "electronic_structure": ElectronicStructureDoc(**common, **_electronic_structure(material)),
    }
    if material.text:
        documents["robocrys"] = RobocrystallogapherDoc(
            **common,
            description=material.text,
            condensed_structure=CondensedStructureData(mineral=MineralData(type=None), dimensionality=3),
        )
    if material.elastic:
        documents["elasticity"] = ElasticityDoc(**common, **_elasticity(material.elastic))
    for route, document in documents.items():
        material.documents[route] = _plain(document, material, with_structure=route in ("summary", "core"))


def task_document(task: Task, material: Material) -> dict[str, Any]:
    """Document of a calculation."""
    symbols = [element.symbol for element in material.structure.composition.elements]
    document = CoreTaskDoc(
        **_metadata(material),
        task_id=task.alpha,
        last_updated=task.last_updated,
        completed_at=task.last_updated,
        calc_type=task.calc_type,
        run_type=task.run_type,
        task_type=task.kind,
        structure=material.structure,
        input=CalculationInput(
            potcar_spec=[PotcarSpec(titel=f"PAW_PBE {symbol} 06Sep2000") for symbol in symbols],
            parameters={"NELECT": float(material.crystal.electrons)},
        ),
        vasp_version="6.4.3",
    )
    return json.loads(document.model_dump_json()) | {"task_id": task.alpha}  # type: ignore[no-any-return]


def legacy_ids(document: dict[str, Any]) -> dict[str, Any]:
    """The same document with ids written mp-<number> wherever they were before letters came."""
    document = dict(document)
    for key, write in (("material_id", format_identifier), ("task_id", format_task_id), ("task_ids", format_task_id)):
        if document.get(key):
            document[key] = write(document[key], legacy=True)
    for key in ("calc_types", "task_types", "run_types"):
        if document.get(key):
            document[key] = {format_task_id(task, legacy=True): kind for task, kind in document[key].items()}
    if document.get("dos"):
        document["dos"] = document["dos"] | {"task_id": format_task_id(document["dos"]["task_id"], legacy=True)}
    return document


def _common(material: Material) -> dict[str, Any]:
    controlled = material.role == "no_access"
    return _metadata(material) | {
        "material_id": material.alpha,
        "structure": material.structure,
        "deprecated": material.role == "deprecated",
        "last_updated": max(task.last_updated for task in material.tasks),
        "builder_meta": EmmetMeta(
            database_version=DATABASE_VERSION,
            license="BY-NC" if controlled else "BY-C",
            batch_id=CONTROLLED_BATCH if controlled else None,
            build_date=max(task.last_updated for task in material.tasks),
        ),
    }


def _metadata(material: Material) -> dict[str, Any]:
    """Composition, symmetry and size; found once a material, for pymatgen takes its time over atomic masses."""
    if not material.metadata:
        structure = material.structure
        document = CoreTaskDoc.from_composition(structure.composition)
        material.metadata = {name: getattr(document, name) for name in COMPOSITION} | {
            "nsites": len(structure),
            "volume": structure.volume,
            "density": float(structure.density),
            "density_atomic": structure.volume / len(structure),
            "symmetry": _symmetry(material),
        }
    return material.metadata


def _symmetry(material: Material) -> SymmetryData:
    """Symmetry of a crystal: found once for all sizes of it, for that takes most of the time."""
    lattice = material.structure.lattice
    shape = tuple(round(value, 3) for value in (*lattice.angles, lattice.b / lattice.a, lattice.c / lattice.a))
    key = (material.crystal.name, shape)
    if key not in _SYMMETRIES:
        _SYMMETRIES[key] = SymmetryData.from_structure(material.structure)
    return _SYMMETRIES[key]


def _summary(material: Material) -> dict[str, Any]:
    integers = ("num_magnetic_sites", "num_unique_magnetic_sites")
    numbers = {key: int(value) if key in integers else value for key, value in material.properties.items()}
    statics = any(task.kind == "Static" for task in material.tasks)
    present = {
        HasProps.materials: True,
        HasProps.thermo: True,
        HasProps.charge_density: statics and material.role != "no_object",
        HasProps.elasticity: material.elastic is not None,
        HasProps.dos: material.dos_task is not None,
        HasProps.electronic_structure: material.dos_task is not None,
    }
    return {
        "task_ids": [task.alpha for task in material.tasks],
        "is_stable": material.stable,
        "is_metal": material.properties["band_gap"] == 0,
        "is_magnetic": material.properties["total_magnetization"] > 0,
        "ordering": "FM" if material.properties["total_magnetization"] else "NM",
        "theoretical": material.number % 3 == 0,
        "dos": _dos(material),
        "has_props": {prop: present.get(prop, False) for prop in HasProps.__members__.values()},
        **numbers,
        **(_moduli(material.elastic) if material.elastic else {}),
    }


def _moduli(elastic: dict[str, float]) -> dict[str, Any]:
    """Averages of a cubic crystal's elastic constants [GPa] (Hill 1952)."""
    c11, c12, c44 = elastic["c11"], elastic["c12"], elastic["c44"]
    bulk = (c11 + 2 * c12) / 3
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    hill = (voigt + reuss) / 2
    return {
        "bulk_modulus": {"voigt": bulk, "reuss": bulk, "vrh": bulk},
        "shear_modulus": {"voigt": voigt, "reuss": reuss, "vrh": hill},
        "universal_anisotropy": 5 * voigt / reuss - 5,
        "homogeneous_poisson": (3 * bulk - 2 * hill) / (6 * bulk + 2 * hill),
    }


def _core(material: Material) -> dict[str, Any]:
    return {
        "created_at": min(task.last_updated for task in material.tasks),
        "task_ids": [task.alpha for task in material.tasks],
        "calc_types": {task.alpha: task.calc_type for task in material.tasks},
        "task_types": {task.alpha: task.kind for task in material.tasks},
        "run_types": {task.alpha: task.run_type for task in material.tasks},
    }


def _elasticity(elastic: dict[str, float]) -> dict[str, Any]:
    c11, c12, c44 = elastic["c11"], elastic["c12"], elastic["c44"]
    tensor = [[c11 if i == j else c12 for j in range(3)] + [0.0] * 3 for i in range(3)]
    tensor += [[c44 if i == j else 0.0 for j in range(6)] for i in range(3, 6)]
    moduli = _moduli(elastic)
    return moduli | {
        "elastic_tensor": ElasticTensorDoc(raw=tensor, ieee_format=tensor),
        "bulk_modulus": BulkModulus(**moduli["bulk_modulus"]),
        "shear_modulus": ShearModulus(**moduli["shear_modulus"]),
        "state": TaskState.SUCCESS,
    }


def _electronic_structure(material: Material) -> dict[str, Any]:
    gap, efermi = material.properties["band_gap"], material.properties["efermi"]
    ordering = Ordering.FM if material.crystal.spin else Ordering.NM
    found = {"band_gap": gap, "efermi": efermi, "is_metal": gap == 0, "magnetic_ordering": ordering}
    return found | {"dos": _dos(material)}


def _dos(material: Material) -> DosData | None:
    if material.dos_task is None:
        return None
    summary = DosSummaryData(band_gap=material.properties["band_gap"], efermi=material.properties["efermi"])
    total = dict.fromkeys(("1", "-1") if material.crystal.spin else ("1",), summary)
    symbols = [element.symbol for element in material.structure.composition.elements]
    elemental = {symbol: {"total": total} for symbol in symbols}
    return DosData(task_id=material.dos_task.alpha, total=total, elemental=elemental, orbital={"total": total})


def _plain(document: Any, material: Material, *, with_structure: bool) -> dict[str, Any]:
    """JSON of a document as the database stores it."""
    plain = json.loads(document.model_dump_json(by_alias=True))
    plain["material_id"] = material.alpha
    plain.pop("structure", None)
    if with_structure:  # emmet's property documents leave it out when written
        plain["structure"] = material.structure.as_dict()
    return plain  # type: ignore[no-any-return]
