"""Packed files of many parts, as `bgzip` or `cat a.gz b.gz` make them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rhoflow.errors import Reason, RejectedMaterialError
from rhoflow.materials import unpack as unpack_module
from rhoflow.materials.unpack import unpack

HERE = Path("CHGCAR")
TEXTS = [b"density" * k for k in (1, 0, 100, 3)]
PACKERS = [gzip.compress, lzma.compress, bz2.compress]


@pytest.mark.parametrize("pack", PACKERS, ids=["gz", "xz", "bz2"])
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_parts_and_padding_are_read_wherever_chunks_end(
    pack: Callable[[bytes], bytes], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_module, "_CHUNK", chunk)
    assert unpack(b"".join(pack(text) + bytes(4) for text in TEXTS), HERE) == b"".join(TEXTS)


@pytest.mark.parametrize("pack", PACKERS, ids=["gz", "xz", "bz2"])
def test_cut_second_part_is_truncated(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXTS[0]) + pack(TEXTS[2])
    for cut in (len(packed) - 1, len(pack(TEXTS[0])) + 12):
        with pytest.raises(RejectedMaterialError) as error:
            unpack(packed[:cut], HERE)
        assert error.value.reason is Reason.TRUNCATED


def test_time_grows_with_the_parts_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a part is fed beyond its end is copied: only the first one may see all the rest."""
    fed: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self._real = zlib.decompressobj(wbits=31)

        def decompress(self, data: memoryview, most: int) -> bytes:
            fed.append(len(data))
            return self._real.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    part = gzip.compress(b"density")
    monkeypatch.setattr(unpack_module, "_CHUNK", 2 * len(part))
    monkeypatch.setitem(unpack_module._DECOMPRESSORS, b"\x1f\x8b", Counting)
    assert unpack(100 * part, HERE) == 100 * b"density"
    assert sum(fed) <= 3 * len(100 * part)
