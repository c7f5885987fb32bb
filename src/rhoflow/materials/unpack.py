"""Packed files from outside, opened so that a small one cannot unpack until memory or patience are used up.

What a file may unpack to follows from its packed size. The 130 densities and objects of the Materials Project at hand
shrink by 2.7 to 22 times; gzip can reach 1000 and the other two far more, but only on content that repeats itself.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rhoflow.errors import Reason, RejectedMaterialError

MOST_TIMES = 200  # its packed size: nine times what the densities at hand need
ALWAYS = 256 * 2**20  # bytes; so much is no harm whatever it came from
_CHUNK = 2**18  # bytes fed at a time behind a first part: what follows an end is copied, so it must not be all
_PADDING = re.compile(rb"\0*")
_DICTIONARY = 2**30  # bytes of memory for xz; its strongest preset takes 65 MB
_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=_DICTIONARY),
    b"BZh": bz2.BZ2Decompressor,
}


def most_unpacked(n_packed: int) -> int:
    """How many bytes a packed file of that many may become."""
    return max(ALWAYS, MOST_TIMES * n_packed)


def is_packed(start: bytes) -> bool:
    """Whether a file that starts so is packed by gzip, xz or bzip2."""
    return start.startswith(tuple(_DECOMPRESSORS))


def unpack(packed: bytes, path: Path) -> bytes:
    """Unpack a whole file; one after another where several were joined.

    Parameters
    ----------
    path : Path
        Named in messages.

    Raises
    ------
    RejectedMaterialError
        If it unpacks to more than `most_unpacked` allows, ends too early or is damaged.
    """
    left = most_unpacked(len(packed))
    parts: list[bytes] = []
    at, view = 0, memoryview(packed)
    try:
        while at < len(packed):
            decompressor = next(make for magic, make in _DECOMPRESSORS.items() if packed.startswith(magic, at))()
            while not decompressor.eof:
                if at == len(packed):
                    raise RejectedMaterialError(
                        Reason.TRUNCATED, f"{path}: the compressed file ends too early; copy it again"
                    )
                chunk = view[at : at + _CHUNK] if at else view
                parts.append(decompressor.decompress(chunk, left + 1))
                left -= len(parts[-1])
                if left < 0:
                    raise too_large(path, len(packed))
                at += len(chunk) - len(decompressor.unused_data)
            at = _PADDING.match(packed, at).end()  # type: ignore[union-attr]
    except StopIteration:
        raise _damaged(path, "something else follows") from None
    except (OSError, lzma.LZMAError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    return b"".join(parts)


def _damaged(path: Path, why: str) -> RejectedMaterialError:
    return RejectedMaterialError(Reason.UNREADABLE, f"{path}: damaged compressed file ({why}); copy it again")


def too_large(path: Path, n_packed: int) -> RejectedMaterialError:
    """Word the refusal of a file that unpacks without end."""
    return RejectedMaterialError(
        Reason.UNREADABLE,
        f"{path}: {n_packed} packed bytes unpack to more than {most_unpacked(n_packed) / 2**20:.0f} MiB, which no"
        " density or run does; if it is a real one, unpack it yourself",
    )


def capped(stream: IO[bytes], path: Path) -> io.BufferedReader:
    """Wrap the unpacked stream of `path`, read bit by bit: it raises as `unpack` does where it grows too long."""
    return io.BufferedReader(_Capped(stream, path), buffer_size=2**16)


class _Capped(io.RawIOBase):
    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._n_packed = path.stat().st_size
        self._most = most_unpacked(self._n_packed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(len(buffer))
        if self._stream.tell() > self._most:
            raise too_large(self._path, self._n_packed)
        buffer[: len(found)] = found
        return len(found)
