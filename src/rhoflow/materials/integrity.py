"""Is a store still what its stage wrote? Snakemake looks at dates alone, so whoever reads a store checks its content.

Every store has the content hash of each material beside it, in ``<store>.digest.json``. A reader compares what it
reads with these; a file that cannot be read at all is told in the same words.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhoflow.errors import StudyError
from rhoflow.materials.digests import read_json
from rhoflow.materials.shards import digest_path

# What h5py, numpy, zipfile and json raise at bytes that make no sense.
_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def damaged(store: Path, what: str) -> StudyError:
    """Error of a store that is no longer what was written, with the remedy."""
    return StudyError(
        f"{store}: {what}; the file was damaged or replaced after it was made."
        f" Delete it and run snakemake again, which makes it anew: rm {store}"
    )


def known_digests(store: Path) -> dict[str, str] | None:
    """Content hash of each material of a store; None where there are none, as beside an archive of one record."""
    path = digest_path(store)
    if not path.exists():
        return None
    with readable(path):
        return dict(read_json(path))


def check_content(store: Path, material_id: str, digest: str, known: dict[str, str] | None) -> None:
    """Compare the hash of what was read with the one that was noted when it was written.

    Raises
    ------
    StudyError
        If they differ, or the store holds a material that nobody noted.
    """
    if known is not None and known.get(material_id) != digest:
        raise damaged(store, f"{material_id} is not what {digest_path(store).name} says")


@contextmanager
def readable(store: Path) -> Iterator[None]:
    """Turn what a damaged file makes its reader raise into a `StudyError` that names it."""
    try:
        yield
    except StudyError:
        raise
    except FileNotFoundError:
        raise StudyError(f"{store}: not there; run snakemake again, which makes it anew") from None
    except _UNREADABLE as error:
        raise damaged(store, f"cannot be read ({type(error).__name__}: {error})") from error
