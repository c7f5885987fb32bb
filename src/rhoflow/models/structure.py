"""A structure as 64 numbers: the embedding of pretrained CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031, 2023).

CHGNet 0.3.0 describes each atom by 64 numbers, after four graph convolutions over neighbours up to 6 A; the energy
is a sum over the atoms of a function of these. Their mean over the atoms knows no cell: a supercell has the embedding
of its primitive cell. The weights ship in the pip package; they are read as tensors alone, nothing is unpickled.

CHGNet was trained on relaxations of the Materials Project (energies, forces, stresses, magnetic moments). Of that
project's crystals, test ones too, it has seen the energy.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Structure

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import Record, read_archive, read_ids
from rhoflow.materials.digests import atomic, digest_arrays
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track

N_EMBEDDING = 64
LARGEST_Z = 94  # CHGNet knows hydrogen to plutonium
_VERSION = "0.3.0"
_WEIGHTS = f"pretrained/{_VERSION}/chgnet_0.3.0_e29f68s314m37.pth.tar"


def embed_shard(archive: Path, store: Path) -> ShardReport:
    """Embed the structures of a shard.

    Parameters
    ----------
    archive : Path
        ``raw/<shard>.h5``.
    store : Path
        ``embeddings/<shard>.npz`` to write: ``ids`` (n,) str and ``embedding`` (n, 64) float32.

    Returns
    -------
    ShardReport
        Also written beside `store`; digests are those of the embeddings.
    """
    report = ShardReport("embed")
    made: dict[str, NDArray[np.float32]] = {}

    def make(material_id: str, record: Record) -> None:
        made[material_id] = embed_structure(record.structure)
        report.accept(material_id, digest_arrays(made[material_id]))

    records = track(
        read_archive(archive),
        total=len(read_ids(archive)),
        what=f"embed {archive.stem}",
        rejected=lambda: len(report.rejected),
    )
    report.each(((record.material_id, record) for record in records), make)
    ids = np.array(list(made), dtype=np.str_)
    with atomic(store) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, ids=ids, embedding=np.array([*made.values()]).reshape(-1, N_EMBEDDING))
    report.write(store)
    return report


def embed_structure(structure: Structure) -> NDArray[np.float32]:
    """Embedding of a crystal, the mean over its atoms.

    Returns
    -------
    (64,) float32 array

    Raises
    ------
    RejectedMaterialError
        If an element is beyond plutonium, or an atom has no neighbour within 6 A.
    """
    heaviest = max(structure.atomic_numbers)
    if heaviest > LARGEST_Z:
        raise RejectedMaterialError(
            Reason.NO_EMBEDDING,
            f"{structure.composition.reduced_formula}: CHGNet knows elements up to Z = {LARGEST_Z}, this has Z ="
            f" {heaviest}; the crystal is left out of chgnet-ridge alone",
        )
    chgnet = _chgnet()
    try:
        graph = chgnet.graph_converter(structure)
    except ValueError as error:
        raise RejectedMaterialError(
            Reason.NO_EMBEDDING, f"{error}; the crystal is left out of chgnet-ridge alone"
        ) from error
    with _one_thread(), warnings.catch_warnings():
        # It turns its lattice, of which it may want gradients, into a volume; no gradient is wanted here.
        warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True to a scalar")
        found = chgnet.predict_graph(graph, task="e", return_crystal_feas=True)
    mean: NDArray[np.float32] = found["crystal_fea"] / np.float32(len(structure))
    return mean


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, so that the same structure gives the same bytes; as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _chgnet() -> Any:
    """CHGNet with its pretrained weights, on the CPU."""
    from chgnet.model.model import CHGNet  # it imports ASE and more: seconds

    saved = torch.load(str(files("chgnet") / _WEIGHTS), map_location="cpu", weights_only=True)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints its size
        # As in CHGNet.load; without a bias in the last layer, since version 0.3.0.
        return CHGNet.from_dict(saved["model"], mlp_out_bias=False, version=_VERSION).eval()
