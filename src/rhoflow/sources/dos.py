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
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import atomic, digest_arrays
from rhoflow.materials.ids import check_id
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track
from rhoflow.sources.plan import read_plan
from rhoflow.sources.retries import OUTAGE, WAIT_S, TryAgainError
from rhoflow.sources.runs import read_packed
from rhoflow.sources.vasprun import TotalDos, parse_total_dos

if TYPE_CHECKING:
    from rhoflow.sources.materials_project.client import Client

TASK = "mp:"
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
        Scale of the backoff between tries of the Materials Project [s].

    Returns
    -------
    ShardReport
        Statistics of a material: ``points`` and ``spin`` (whether there are two spins), or ``note``.

    Raises
    ------
    StudyError
        If the Materials Project is needed and cannot be reached, refuses the key, or gives no answer for `OUTAGE`
        materials in a row.
    """
    report = ShardReport("dos")
    materials = read_plan(plan)
    with closing(_Project(wait_s)) as project, atomic(store) as part, h5py.File(part, "w") as file:
        for material in track(materials, total=len(materials), what=f"dos {plan.stem}"):
            material_id = check_id(material["id"])
            try:
                dos = _checked(_read(material["dos"], project), material["dos"])
            except RejectedMaterialError as error:
                project.check_outage(f"dos {plan.stem}", error)
                report.stats[material_id] = {"note": error.detail}
                continue
            arrays = _arrays(dos)
            group = file.create_group(material_id)
            group.attrs.update(efermi=dos.efermi, source=material["dos"])
            for name, values in arrays.items():
                group.create_dataset(name, data=values, shuffle=True, compression="gzip", compression_opts=4)
            digest = digest_arrays(*arrays.values(), np.array([dos.efermi]))
            report.accept(material_id, digest, points=len(dos.energies), spin=len(dos.densities) == 2)
    report.write(store)
    return report


@dataclass
class _Project:
    """The Materials Project, asked for the first time when the first material needs it."""

    wait_s: float
    client: Client | None = None
    silent: int = 0  # materials in a row that it gave no answer for

    def read(self, task_id: str) -> TotalDos:
        """Read the total density of states of a calculation."""
        from rhoflow.sources.materials_project.client import Client, NoAnswerError, quiet_client

        check_id(task_id)  # it becomes part of a query
        with quiet_client():
            client = self.client = self.client or Client(wait_s=self.wait_s)
            try:
                found = client.ask(f"the density of states of {task_id}", lambda: _ask(client.dos, task_id))
            except NoAnswerError as error:
                self.silent += 1
                raise RejectedMaterialError(Reason.DOWNLOAD, str(error)) from error
        self.silent = 0
        if not found:
            raise RejectedMaterialError(
                Reason.NO_FIELD, f"the Materials Project has no density of states of {task_id}, though it names it"
            )
        dos: TotalDos = found[0]
        return dos

    def check_outage(self, stage: str, last: RejectedMaterialError) -> None:
        """Stop where it answers nothing: a study would go on as if there were no densities of states."""
        if self.silent >= OUTAGE:
            raise StudyError(
                f"{stage}: no answer for {OUTAGE} densities of states in a row, the last with: {last.detail}. They"
                " lie in the project's bucket: look at AWS_ENDPOINT_URL too"
            ) from last

    def close(self) -> None:
        """End the connection, if there is one."""
        if self.client:
            self.client.close()


def _ask(rester: Any, task_id: str) -> list[TotalDos]:
    """Ask for a density of states: a list of one, or none if the project has none."""
    try:
        dos = rester.get_dos_from_task_id(task_id)
        spins = sorted(dos.densities, key=lambda spin: -int(spin))  # up is 1, down -1
        densities = np.array([dos.densities[spin] for spin in spins], dtype=np.float64)
        return [TotalDos(np.array(dos.energies, dtype=np.float64), densities, float(dos.efermi))]
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # the document came, and is none
        raise RejectedMaterialError(
            Reason.BAD_DOCUMENT,
            f"the Materials Project's density of states of {task_id} cannot be used ({type(error).__name__})",
        ) from None
    except Exception as error:  # of the object store and the query engine below the client, whatever they raise
        if "No DOS data found" in str(error):
            return []
        raise TryAgainError(f"{type(error).__name__} while reading the density of states") from None


def _read(where: str | None, project: _Project) -> TotalDos:
    """Read a density of states from where the plan says."""
    if where is None:
        raise RejectedMaterialError(
            Reason.NO_FIELD, "the source has no density of states: neither vasprun.xml nor dos.json, nor a DOS task"
        )
    if where.startswith(TASK):
        return project.read(where.removeprefix(TASK))
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


def _arrays(dos: TotalDos) -> dict[str, NDArray[np.float64]]:
    names = ("up", "down") if len(dos.densities) == 2 else ("total",)
    return {"energies": dos.energies, **dict(zip(names, dos.densities, strict=True))}
