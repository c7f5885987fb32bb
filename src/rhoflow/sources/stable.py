"""Files whose bytes depend on their content alone, and that are left alone while it stays the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rhoflow.materials.digests import atomic


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write `data` atomically unless the file holds just that already; return whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    with atomic(path) as part:
        part.write_bytes(data)
    return True


def json_bytes(value: Any) -> bytes:
    """JSON with sorted keys, one indent and no NaN, as `materials.digests.write_json` writes it."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def parquet_bytes(columns: dict[str, pa.Array]) -> bytes:
    """Parquet of named columns; no pandas metadata, so the bytes do not follow the version of pandas."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())
