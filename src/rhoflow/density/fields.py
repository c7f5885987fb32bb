"""Which density of a material a study asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import Record

MIN_SPIN = 1e-3  # e/A^3; below it the spin density is the noise of a non-magnetic crystal


def select_field(record: Record, field: str) -> NDArray[np.float64]:
    """Read one field of a material.

    Parameters
    ----------
    field : str
        Name in the archive, e.g. ``total`` or ``spin``.

    Returns
    -------
    (na, nb, nc) float64 array
        The field on the native grid [e/A^3].

    Raises
    ------
    RejectedMaterialError
        If the material lacks the field, or `field` is ``spin`` and the crystal is not magnetic.
    """
    if field not in record.fields:
        raise RejectedMaterialError(
            Reason.NO_FIELD,
            f"{record.material_id}: no field {field!r}, its density file holds {', '.join(record.fields)};"
            " choose one of these, or leave the material out",
        )
    rho = record.fields[field]
    if field == "spin" and (peak := float(np.abs(rho).max())) < MIN_SPIN:
        raise RejectedMaterialError(
            Reason.NOT_MAGNETIC,
            f"{record.material_id}: max |spin| = {peak:.2g} e/A^3, a magnetic crystal has at least {MIN_SPIN};"
            " choose the field total, or leave the material out",
        )
    return rho
