"""What the raw archive keeps of one material: read, checked, on the grid and in the precision of the study."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.density.aeccar import PARTS, aeccar_field, missing_aeccar
from rhoflow.density.prototype import prototype_of
from rhoflow.density.read import Volumetric, read_density
from rhoflow.density.regrid import regrid
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.digests import digest_json
from rhoflow.source_digest import script_digest
from rhoflow.sources.local import LocalFiles
from rhoflow.sources.runs import read_run

Entry = Mapping[str, Any]
Stored = NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True)
class Keep:
    """What a study keeps of a density: its `field`, its `raw` and the shape of its unified grid."""

    field: str
    raw: str
    shape: tuple[int, int, int]

    def facts(self) -> dict[str, Any]:
        """Of these settings those that change a record."""
        shape = list(self.shape) if self.raw == "none" else None
        return {"field": self.field if self.field in PARTS else None, "raw": self.raw, "shape": shape}


@dataclass(frozen=True)
class MaterialRecord:
    """One material as it goes into the archive.

    Attributes
    ----------
    fields : dict of str to (na, nb, nc) float64 or float32 array
        Densities [e/A^3].
    attrs : dict
        Facts beside them in the archive.
    stats : dict
        Facts for the report of the stage.
    """

    structure: Structure
    fields: dict[str, Stored]
    attrs: dict[str, str | float]
    stats: dict[str, Any]


def identity(entry: Entry, keep: Keep) -> str:
    """Hash of all that a record depends on: the material's files, what is kept of them, the code that reads them."""
    files = {name: entry[name] for name in ("id", "density", "structure", "run", "aeccar", "key", "sha256", "bytes")}
    return digest_json({"files": files, "keep": keep.facts(), "code": _code()})


@functools.cache
def _code() -> str:
    """Digest of this module and all that it uses: the reading of files, not their download."""
    return script_digest(Path(__file__))


def make_record(entry: Entry, files: LocalFiles, keep: Keep) -> MaterialRecord:
    """Read the files of a material and keep of them what the study asks for.

    Raises
    ------
    RejectedMaterialError
        If they cannot be used.
    """
    density = read_density(files.density, files.structure)
    fields = {"total": density.total, **density.spin, **_extra_field(density, files, keep.field)}
    stored = {name: _stored(fields.pop(name), keep) for name in list(fields)}
    run = _run_facts(files.run, density.structure)
    attrs = {"electrons": density.electrons, "source": files.origin, "key": entry["key"]}
    if run and run["valence"]:
        attrs["valence"] = json.dumps(run["valence"], sort_keys=True)
    origin = {"source": files.origin, "sha256": files.sha256, "bytes": files.density.stat().st_size, "run": run}
    origin |= {"aeccar_sha256": files.aeccar_sha256} if files.aeccar_sha256 else {}
    stats = _statistics(density, files.origin) | origin
    return MaterialRecord(density.structure, stored, attrs, stats)


def _extra_field(density: Volumetric, files: LocalFiles, field: str) -> dict[str, NDArray[np.float64]]:
    """Compute the field of a study that is not in the density file; a deformation can also be had without AECCARs."""
    if field not in PARTS:
        return {}
    rho = aeccar_field(field, density, files)
    if rho is None and field == "all_electron":
        raise RejectedMaterialError(
            Reason.NO_FIELD,
            f"{files.origin}: the field all_electron needs {missing_aeccar(field, files)}, which VASP writes with"
            " LAECHG = .TRUE.; put the files beside the density, or choose another field",
        )
    return {} if rho is None else {field: rho}


def _stored(rho: NDArray[np.float64], keep: Keep) -> Stored:
    """Put a field on the grid and into the precision of the archive."""
    if keep.raw == "native":
        return rho
    return (regrid(rho, keep.shape) if keep.raw == "none" else rho).astype(np.float32)


def _run_facts(path: Path | None, structure: Structure) -> dict[str, Any] | None:
    """Read the run file; one that cannot be read or is of another cell costs its properties, not the density."""
    if path is None:
        return None
    try:
        run = read_run(path)
    except RejectedMaterialError as error:
        return _no_run(str(error))
    atoms = {element: int(n) for element, n in structure.composition.get_el_amt_dict().items()}
    if run.composition != atoms:
        return _no_run(f"{path}: a run of {run.composition}, but the density is of {atoms}; give the file of its run")
    return {"properties": run.properties, "valence": run.valence, "note": None}


def _no_run(note: str) -> dict[str, Any]:
    return {"properties": {}, "valence": None, "note": note}


def _statistics(density: Volumetric, origin: str) -> dict[str, Any]:
    """Facts of a crystal that the study-wide steps group and filter by."""
    composition = density.structure.composition
    try:
        prototype, space_group_number = prototype_of(density.structure)
    except RejectedMaterialError as error:
        raise RejectedMaterialError(error.reason, f"{origin}: {error.detail}") from error
    return {
        "electrons": density.electrons,
        "formula": composition.reduced_formula,
        "anonymous_formula": composition.anonymized_formula,
        "space_group_number": space_group_number,
        "prototype": prototype,
        "n_sites": len(density.structure),
    }
