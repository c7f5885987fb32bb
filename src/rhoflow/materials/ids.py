"""Material ids and the shard an id belongs to."""

from __future__ import annotations

import hashlib
import re

from rhoflow.errors import Reason, RejectedMaterialError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def check_id(material_id: str) -> str:
    """Return `material_id` if it is safe as a file and HDF5 group name.

    Raises
    ------
    RejectedMaterialError
        If it holds a path separator, a blank or any other character outside ``A-Za-z0-9._+-``,
        starts with a dot, or is longer than 100 characters.
    """
    if not _ID.fullmatch(material_id):
        raise RejectedMaterialError(
            Reason.BAD_ID,
            f"id {material_id!r}: only letters, digits and . _ + - are allowed, starting with a letter or digit,"
            " at most 100 characters; rename the folder or the row",
        )
    return material_id


def hash_integer(*parts: str) -> int:
    """Stable non-negative 64-bit integer of some strings (the same on every machine and Python)."""
    text = "\x1f".join(parts).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def shard_of(material_id: str, n_shards: int) -> str:
    """Name of the shard of a material, ``sha256(id) mod n_shards``: adding a material touches one shard."""
    return f"{hash_integer(material_id) % n_shards:04d}"
