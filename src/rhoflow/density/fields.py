"""Which density of a material a study asks for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.density.promolecule import deformation
from rhoflow.density.valence import Valence, choose_valence, name_shells
from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import Record

MIN_SPIN = 1e-3  # e/A^3; below it the spin density is the noise of a non-magnetic crystal
_REMEDIES = {
    "all_electron": "it is AECCAR0 + AECCAR2: put both files beside the density file",
    "deformation": "it needs the field total",
}


def select_field(record: Record, field: str, smoothing: float = 0.0) -> NDArray[np.float64]:
    """Read or make one field of a material.

    Parameters
    ----------
    field : str
        Name in the archive: ``total``, ``spin``, ``all_electron``; or ``deformation``, which is the archive's
        (AECCAR2 - AECCAR1) where it has one and else total minus the promolecule.
    smoothing : float
        Width of the Gaussian filter that the density went through [A], for the promolecule.

    Returns
    -------
    (na, nb, nc) float64 array
        The field on the native grid [e/A^3].

    Raises
    ------
    RejectedMaterialError
        NO_FIELD if the material lacks the field, NOT_MAGNETIC if `field` is ``spin`` and the crystal is not magnetic,
        NO_FREE_ATOM or VALENCE if its free atoms are not known (see `valence.choose_valence`).
    """
    if not _is_computed(record, field):
        return _read(record, field)
    rho = _read(record, "total")
    return deformation(rho, record.structure, _valence(record, rho), smoothing=smoothing)


def check_field(record: Record, field: str) -> dict[str, Any]:
    """Raise what `select_field` would raise, and say how the field is made.

    Returns
    -------
    dict
        For a computed deformation ``{"free_atoms": {"Ti": "3d2 3p6 4s2", ...}}``: the shells that were taken away;
        else empty.
    """
    if not _is_computed(record, field):
        _read(record, field)
        return {}
    return {"free_atoms": name_shells(_valence(record, _read(record, "total")))}


def _is_computed(record: Record, field: str) -> bool:
    return field == "deformation" and field not in record.fields


def _read(record: Record, field: str) -> NDArray[np.float64]:
    """Field of the archive (na, nb, nc) [e/A^3]."""
    if field not in record.fields:
        raise RejectedMaterialError(
            Reason.NO_FIELD,
            f"{record.material_id}: no field {field!r}, its density file holds {', '.join(record.fields)};"
            f" {_REMEDIES.get(field, 'choose one of these')}, or leave the material out",
        )
    rho = np.asarray(record.fields[field], dtype=np.float64)
    if field == "spin" and (peak := float(np.abs(rho).max())) < MIN_SPIN:
        raise RejectedMaterialError(
            Reason.NOT_MAGNETIC,
            f"{record.material_id}: max |spin| = {peak:.2g} e/A^3, a magnetic crystal has at least {MIN_SPIN};"
            " choose the field total, or leave the material out",
        )
    return rho


def _valence(record: Record, rho: NDArray[np.float64]) -> Valence:
    """Valence shells of a material, by what its run states or by its density (na, nb, nc) [e/A^3]."""
    stated = json.loads(record.attrs.get("valence", "null"))
    try:
        return choose_valence(rho, record.structure, stated)
    except RejectedMaterialError as error:
        raise RejectedMaterialError(error.reason, f"{record.material_id}: {error.detail}") from error
