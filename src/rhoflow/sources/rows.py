"""The rows of a catalogue before they are written: what every kind of source gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the Snakefile imports the catalogue each time it is read: numpy stays away from it
    import numpy as np
    from numpy.typing import NDArray

    from rhoflow.errors import Reason

# Columns that every catalogue has, in their order, before the properties and the texts.
TEXT_FIXED = (
    "material_id",
    "path",
    "structure_path",
    "run_path",
    "aeccar0_path",
    "aeccar1_path",
    "aeccar2_path",
    "dos",
    "sha256",
)
FIXED = (*TEXT_FIXED, "size_bytes", "content_key", "shard")
# A text column for sources that know more of their files: JSON of {role: {"bytes", "etag", "sha256"}}, each where
# known, of the roles density, structure, run, aeccar0, aeccar1 and aeccar2; what arrives must be that. Of a density
# of states of the Materials Project {"dos": {"blake3"}}, the digest that the stage `dos` gives it.
CHECKS = "checks"
DESCRIPTION = "description"  # text column of sources that bring descriptions along
# What the location of an object in a bucket begins with; other locations are local paths.
REMOTE = "s3://"
# What stands before the task id of a density of states of the Materials Project; it lies in a table, not in a file.
TASK_DOS = "mp:"
# All-electron files that a field is made of: AECCAR0 is the core, 1 the overlapped atoms, 2 the valence density.
AECCARS: dict[str, tuple[int, ...]] = {"all_electron": (0, 2), "deformation": (1, 2)}


@dataclass
class Rows:
    """Materials of a source.

    Attributes
    ----------
    rows : list of dict
        One dict a material, sorted by id, with the keys of `FIXED` but ``shard``; None for what is not there. May
        have `CHECKS` too.
    numbers : dict of str to (n_rows,) float64 array
        Values by property key, in the property's house unit; NaN is missing.
    texts : dict of str to list of str
        Further columns.
    rejected : dict of str to dict
        ``{"reason", "detail"}`` by id. An id that has a row as well only has cells that are no numbers.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    rejected: dict[str, dict[str, str]] = field(default_factory=dict)

    def reject(self, material_id: str, reason: Reason, detail: str) -> None:
        """Note why a material is left out; the first reason stands."""
        self.rejected.setdefault(material_id, {"reason": reason.value, "detail": detail})
