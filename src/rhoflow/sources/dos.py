"""The stage `dos`: densities of states of a shard, from whichever place the catalogue names.

Layout of ``dos/<shard>.h5``, one group a material that has a density of states, named by its id:

===================  =====  =======  ==========================================================
dataset              shape  dtype    meaning
===================  =====  =======  ==========================================================
``energies``         (m,)   float64  [eV], ascending, on the calculation's own scale
``up`` and ``down``  (m,)   float64  of each spin [states/eV/cell], in spin-polarised ones
``total``            (m,)   float64  of both spins together [states/eV/cell], in the others
===================  =====  =======  ==========================================================

Group attributes: ``efermi`` (Fermi level [eV], on the scale of ``energies``) and ``source`` (file or task).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import atomic, digest_arrays
from rhoflow.materials.ids import check_id
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track
from rhoflow.sources.plan import read_plan
from rhoflow.sources.retries import OUTAGE, TRIES, WAIT_S, TryAgainError, retrying
from rhoflow.sources.rows import CHECKS, TASK_DOS
from rhoflow.sources.runs import read_packed
from rhoflow.sources.vasprun import TotalDos, parse_total_dos

UNIT = "states/eV/cell"
_MOST_POINTS = 1_000_000


def dos_shard(plan: Path, store: Path, *, wait_s: float = WAIT_S) -> ShardReport:
    """Gather the densities of states of a plan; write the store and its report.

    A material without one, or with one that cannot be used, is no rejection: its statistics hold a ``note``.

    Parameters
    ----------
    plan : Path
        ``plan/<shard>.json``; relative paths in it start at the working directory.
    store : Path
        ``dos/<shard>.h5`` to write.
    wait_s : float
        Scale of the backoff between tries of the Materials Project's bucket [s].

    Returns
    -------
    ShardReport
        Statistics of a material: ``points`` and ``spin`` (whether there are two spins), or ``note``.

    Raises
    ------
    StudyError
        If the bucket gives no answer for `OUTAGE` materials in a row, or for all that are asked for.
    """
    report = ShardReport("dos")
    materials = read_plan(plan)
    project = _Project(f"dos {plan.stem}", wait_s)
    with atomic(store) as part, h5py.File(part, "w") as file:
        for material in track(materials, total=len(materials), what=f"dos {plan.stem}"):
            material_id = check_id(material["id"])
            try:
                dos = _checked(_read(material["dos"], project), material["dos"])
                arrays = _arrays(dos)
                digest = digest_arrays(*arrays.values(), np.array([dos.efermi]))
                _check_listed(digest, material)
            except RejectedMaterialError as error:
                report.stats[material_id] = {"note": error.detail}
                continue
            group = file.create_group(material_id)
            group.attrs.update(efermi=dos.efermi, source=material["dos"])
            for name, values in arrays.items():
                group.create_dataset(name, data=values, shuffle=True, compression="gzip", compression_opts=4)
            report.accept(material_id, digest, points=len(dos.energies), spin=len(dos.densities) == 2)
        project.check_answered()
    report.write(store)
    return report


@dataclass
class _Project:
    """The Materials Project's table of densities of states, opened when the first material needs it."""

    stage: str
    wait_s: float
    rester: Any = None
    asked: int = 0
    silent: int = 0  # materials in a row that it gave no answer for

    def read(self, task_id: str) -> TotalDos:
        """Read the total density of states of a calculation."""
        from rhoflow.sources.materials_project.client import open_dos, quiet_client

        check_id(task_id)  # it becomes part of a query
        self.asked += 1
        silent, self.silent = self.silent, 0
        with quiet_client():
            self.rester = self.rester or open_dos()
            try:
                dos = retrying(self.wait_s)(lambda: _ask(self.rester, task_id))
            except TryAgainError as error:
                self.silent = silent + 1
                if self.silent >= OUTAGE:
                    raise self._outage() from error
                raise RejectedMaterialError(
                    Reason.DOWNLOAD,
                    f"no density of states of {task_id} came from the bucket in {TRIES} tries: {error}",
                ) from error
        if dos is None:
            raise RejectedMaterialError(
                Reason.NO_FIELD, f"the Materials Project has no density of states of {task_id}, though it names it"
            )
        return dos

    def check_answered(self) -> None:
        """Stop where nothing came, however little was asked for: the study would go on as if there were nothing."""
        if 0 < self.silent == self.asked:
            raise self._outage()

    def _outage(self) -> StudyError:
        return StudyError(
            f"{self.stage}: no answer for {self.silent} densities of states in a row. They lie in the Materials"
            " Project's bucket: check the network, HTTPS_PROXY and AWS_ENDPOINT_URL, then run again"
        )


def _ask(rester: Any, task_id: str) -> TotalDos | None:
    """Ask for a density of states; None if the project has none."""
    try:
        dos = rester.get_dos_from_task_id(task_id)
        spins = sorted(dos.densities, key=lambda spin: -int(spin))  # up is 1, down -1
        densities = np.array([dos.densities[spin] for spin in spins], dtype=np.float64)
        return TotalDos(np.array(dos.energies, dtype=np.float64), densities, float(dos.efermi))
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # the document came, and is none
        raise RejectedMaterialError(
            Reason.BAD_DOCUMENT,
            f"the Materials Project's density of states of {task_id} cannot be used ({type(error).__name__})",
        ) from None
    except Exception as error:  # of the object store and the query engine below the client, whatever they raise
        if "No DOS data found" in str(error):
            return None
        raise TryAgainError(f"{type(error).__name__} while reading the density of states") from None


def _read(where: str | None, project: _Project) -> TotalDos:
    """Read a density of states from where the plan says."""
    if where is None:
        raise RejectedMaterialError(
            Reason.NO_FIELD, "the source has no density of states: neither vasprun.xml nor dos.json, nor a DOS task"
        )
    if where.startswith(TASK_DOS):
        return project.read(where.removeprefix(TASK_DOS))
    path = Path(where)
    parse: Callable[[Any], TotalDos] = _parse_json if ".json" in path.name else parse_total_dos
    dos: TotalDos = read_packed(path, parse)
    return dos


def _parse_json(file: Any) -> TotalDos:
    """Read the layout of resources/demo: energies relative to ``zero_eV``, ``up`` and ``down`` or ``total``."""
    content = json.load(file)
    if content["unit"] != UNIT:
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"dos.json: its unit is another one than {UNIT}; convert the numbers and name that unit",
        )
    names = ("up", "down") if "up" in content else ("total",)
    energies = np.array(content["energy_eV"], dtype=np.float64) + float(content["zero_eV"])
    densities = np.array([content[name] for name in names], dtype=np.float64)
    return TotalDos(energies, densities, float(content["fermi_level_eV"]))


def _checked(dos: TotalDos, where: str) -> TotalDos:
    """Reject what is no density of states."""
    shape, (n_spins, *rest) = dos.energies.shape, dos.densities.shape
    if len(shape) != 1 or rest != [*shape] or n_spins not in (1, 2) or not 2 <= shape[0] <= _MOST_POINTS:
        raise RejectedMaterialError(
            Reason.UNREADABLE,
            f"{where}: energies of shape {shape} and densities of shape {dos.densities.shape}; expected (m,) and"
            f" (1 or 2, m), m from 2 to {_MOST_POINTS}",
        )
    numbers = (dos.energies, dos.densities, np.array(dos.efermi))
    if not all(np.isfinite(array).all() for array in numbers) or (np.diff(dos.energies) < 0).any():
        raise RejectedMaterialError(
            Reason.NOT_FINITE, f"{where}: a number is missing or not finite, or the energies do not ascend"
        )
    return dos


def _check_listed(digest: str, entry: dict[str, Any]) -> None:
    """Refuse a density of states of the Materials Project that is another one than a published list means."""
    listed = entry.get(CHECKS, {}).get("dos", {}).get("blake3", digest)
    if digest != listed:
        raise RejectedMaterialError(
            Reason.CHECKSUM,
            f"{entry['dos']}: BLAKE3 {digest} instead of {listed}: not the density of states that was listed",
        )


def _arrays(dos: TotalDos) -> dict[str, NDArray[np.float64]]:
    names = ("up", "down") if len(dos.densities) == 2 else ("total",)
    return {"energies": dos.energies, **dict(zip(names, dos.densities, strict=True))}
