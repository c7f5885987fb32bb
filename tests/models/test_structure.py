"""The embedding of a structure: a property of the crystal, whatever cell it comes in."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials.archive import ArchiveWriter
from rhoflow.materials.digests import digest_arrays
from rhoflow.materials.shards import read_report
from rhoflow.models.structure import N_EMBEDDING, embed_shard, embed_structure

CLOSE = 1e-5  # single precision, over four convolutions; values reach 2
ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ALONE = Structure(Lattice.cubic(12), ["Ne"], [[0, 0, 0]])
CURIUM = Structure(Lattice.cubic(3.5), ["Cm"], [[0, 0, 0]])


def _supercell() -> Structure:
    return ROCKSALT.get_primitive_structure() * (2, 1, 3)


def _moved() -> Structure:
    crystal = ROCKSALT.copy()
    return crystal.translate_sites(range(len(crystal)), [0.1, 0.2, 0.3])


def _turned() -> Structure:
    rotation = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]])
    return Structure(ROCKSALT.lattice.matrix @ rotation.T, ROCKSALT.species, ROCKSALT.frac_coords)


def _mixed() -> Structure:
    return Structure.from_sites(ROCKSALT.sites[::-1])


@pytest.mark.parametrize("same", [_supercell, _moved, _turned, _mixed])
def test_another_cell_of_the_same_crystal_has_the_same_embedding(same) -> None:
    plain = embed_structure(ROCKSALT)
    assert plain.shape == (N_EMBEDDING,)
    np.testing.assert_allclose(embed_structure(same()), plain, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("other", ["element", "length"])
def test_another_crystal_has_another_embedding(other: str) -> None:
    crystal = ROCKSALT.copy()
    if other == "element":
        crystal.replace_species({"Na": "K"})
    else:
        crystal.scale_lattice(1.02 * crystal.volume)
    assert np.abs(embed_structure(crystal) - embed_structure(ROCKSALT)).max() > 100 * CLOSE


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
def test_embedding_is_what_the_package_itself_computes() -> None:
    """Its own loader and its own prediction, which sums over the atoms."""
    from chgnet.model.model import CHGNet

    chgnet = CHGNet.load(use_device="cpu", verbose=False)
    graph = chgnet.graph_converter(ROCKSALT)
    found = chgnet.predict_graph(graph, task="e", return_crystal_feas=True)
    np.testing.assert_allclose(embed_structure(ROCKSALT), found["crystal_fea"] / 8, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("crystal", "why"), [(CURIUM, "Z = 96"), (ALONE, "isolated atom")], ids=["Cm", "lone atom"])
def test_crystal_that_cannot_be_embedded_says_why(crystal: Structure, why: str) -> None:
    with pytest.raises(RejectedMaterialError, match=rf"{why}.* left out of chgnet-ridge alone") as caught:
        embed_structure(crystal)
    assert caught.value.reason == Reason.NO_EMBEDDING


def test_shard_has_its_embeddings_digests_and_rejections_and_the_same_bytes_again(tmp_path) -> None:
    archive = tmp_path / "0000.h5"
    with ArchiveWriter(archive) as writer:
        for name, crystal in {"b": ROCKSALT, "a": ROCKSALT * (1, 1, 2), "c": CURIUM}.items():
            writer.add(name, crystal, {"total": np.zeros((2, 2, 2))})
    stores = [tmp_path / name for name in ("one.npz", "two.npz")]
    for store in stores:
        embed_shard(archive, store)
    assert stores[0].read_bytes() == stores[1].read_bytes()
    with np.load(stores[0]) as store:
        assert store["ids"].tolist() == ["a", "b"]
        embedding = store["embedding"]
    np.testing.assert_allclose(embedding[0], embedding[1], rtol=0, atol=CLOSE)
    report = read_report(stores[0])
    assert report.digests == {"a": digest_arrays(embedding[0]), "b": digest_arrays(embedding[1])}
    assert list(report.rejected) == ["c"]


def test_empty_shard_keeps_the_shape(tmp_path) -> None:
    with ArchiveWriter(tmp_path / "0000.h5"):
        pass
    embed_shard(tmp_path / "0000.h5", tmp_path / "0000.npz")
    with np.load(tmp_path / "0000.npz") as store:
        assert store["embedding"].shape == (0, N_EMBEDDING)
