"""The images of a training job, read once for all its folds; on the node's own disk where they outgrow its memory."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from rhoflow.dataset.stores import Shards, read_images
from rhoflow.errors import StudyError
from rhoflow.materials.disk import full_disk_stops


class ImageReader:
    """Reads images as `read_images` does, and keeps the last ones: the folds of a target have the same.

    Parameters
    ----------
    disk : Path, optional
        Folder of the node in which the images lie, mapped into memory; without it they are held in memory. The file
        has no name, so that nothing of it is left, however the process ends.
    """

    def __init__(self, disk: Path | None = None) -> None:
        self._disk = disk
        self._of: tuple[object, ...] = ()
        self._images: NDArray[np.float32] | None = None

    def __call__(self, root: Path, shards: Shards, folder: str) -> NDArray[np.float32]:
        """Images in the order of their ids, see `read_images`; nobody may write to them.

        Raises
        ------
        StudyError
            If the node's folder is not there, or its disk is full.
        """
        of = (root, folder, *((shard, *ids) for shard, ids in shards.items()))
        if self._images is None or of != self._of:
            self._images = None  # the old ones make room first
            how = {} if self._disk is None else {"new_array": self._new_array}
            self._of, self._images = of, read_images(root, shards, folder, **how)
        return self._images

    def _new_array(self, shape: tuple[int, ...], dtype: type[np.float32]) -> NDArray[np.float32]:
        """Make an array in a nameless file whose space is there: a full disk would end the process later on."""
        assert self._disk is not None
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        advice = f"the images take {size / 1e9:.3g} GB; name another folder as local_disk of this rule, or none"
        with full_disk_stops((self._disk,), lambda: advice), self._new_file() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            print(f"images: {size / 1e9:.3g} GB in {self._disk}", file=sys.stderr)
            return np.memmap(file, dtype=dtype, mode="r+", shape=shape)

    def _new_file(self) -> IO[bytes]:
        try:
            return tempfile.TemporaryFile(dir=self._disk)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise StudyError(
                f"local_disk: {self._disk}: {error.strerror}; name a folder that the compute nodes have, or none"
            ) from error
