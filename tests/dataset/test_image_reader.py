"""The images of a training job: read once, in memory or on the node's disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rhoflow.dataset import image_reader
from rhoflow.dataset.image_reader import ImageReader
from rhoflow.dataset.stores import read_images
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_arrays
from rhoflow.materials.shards import ShardReport
from rhoflow.models.inputs import ArrayInputs

SHARDS = {"0000": ["b", "d"], "0001": ["a", "c"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two shards of slices, each with a material that nobody asks for."""
    for shard, ids in SHARDS.items():
        store = tmp_path / "slices" / f"{shard}.npz"
        store.parent.mkdir(exist_ok=True)
        report = ShardReport("slices")
        images = np.array([image_of(material_id) for material_id in ("0", *ids)])
        for material_id, image in zip(("0", *ids), images, strict=True):
            report.accept(material_id, digest_arrays(image))
        np.savez(store, ids=np.array(["0", *ids]), image=images)
        report.write(store)
    return tmp_path


def image_of(material_id: str) -> NDArray[np.float32]:
    return np.full((5, 5), ord(material_id), dtype=np.float32)


def test_order_is_that_of_the_ids_whatever_their_shards(root: Path) -> None:
    images = read_images(root, SHARDS)
    assert images[:, 0, 0].tolist() == [ord(material_id) for material_id in "abcd"]


def test_the_disk_holds_the_same_images_and_no_file_is_seen(root: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    images = ImageReader(disk)(root, SHARDS, "slices")
    assert isinstance(images, np.memmap)
    assert list(disk.iterdir()) == []
    np.testing.assert_array_equal(images, ImageReader()(root, SHARDS, "slices"))


def test_the_folds_of_a_job_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(image_reader, "read_images", lambda *what: asked.append(what) or read_images(*what))
    reader = ImageReader()
    assert reader(root, SHARDS, "slices") is reader(root, dict(SHARDS), "slices")
    reader(root, {"0000": ["d"]}, "slices")
    assert len(asked) == 2


def test_a_network_reads_the_array_on_disk_itself(root: Path, tmp_path: Path) -> None:
    """A copy for the network would take the memory that the disk saves."""
    import torch

    from rhoflow.models.backbones import ImageBackbone

    images = ImageReader(tmp_path)(root, SHARDS, "slices")
    inputs = ImageBackbone.prepare(torch.nn.Module(), images, None)  # type: ignore[arg-type]
    assert isinstance(inputs, ArrayInputs)
    assert inputs.values.data_ptr() == images.ctypes.data


@pytest.mark.parametrize("missing", ["nowhere", "file/inside"])
def test_a_folder_that_the_node_lacks_is_named(root: Path, tmp_path: Path, missing: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match=f"local_disk: .*{missing}: .*; name a folder that the compute nodes have"):
        ImageReader(tmp_path / missing)(root, SHARDS, "slices")


def test_a_full_disk_is_named_before_anything_is_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to a mapped file on a full disk would kill the process without a word."""

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        StudyError, match=r"no space left on the disk .* the images take 4e-07 GB; name another folder"
    ):
        ImageReader(tmp_path)(root, SHARDS, "slices")


def test_a_killed_process_leaves_nothing(root: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    code = (
        "import os, sys; from pathlib import Path; from rhoflow.dataset.image_reader import ImageReader;"
        f" images = ImageReader(Path({str(disk)!r}))(Path({str(root)!r}), {SHARDS!r}, 'slices');"
        " assert images.sum() > 0; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert list(disk.iterdir()) == []
