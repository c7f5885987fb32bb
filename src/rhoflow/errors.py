"""The two kinds of error a user can meet: a bad material (a rejection) and a bad study (a failure)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum


class Reason(StrEnum):
    """Why a material is left out; the `reason` column of rejected.csv."""

    UNREADABLE = "unreadable file"
    EMPTY = "empty file"
    TRUNCATED = "truncated file"
    NOT_FINITE = "NaN or infinite density"
    NO_ELEMENTS = "element symbols unknown"
    BAD_STRUCTURE = "bad structure"
    ELECTRON_COUNT = "electron count"
    NO_FIELD = "field not in file"
    NOT_MAGNETIC = "not magnetic"
    NOT_PERIODIC = "density lacks the crystal's periodicity"
    NO_PLANE = "plane or window not defined"
    OUTLIER = "outside the IQR fences"
    NOT_FROZEN = "outside the dataset version"
    NO_PROPERTY = "property missing"
    DUPLICATE_ID = "duplicate id"
    TWO_DENSITIES = "two density files"
    BAD_ID = "bad id"
    NO_DENSITY = "no density file"
    NO_EMBEDDING = "no structure embedding"
    NO_FREE_ATOM = "no free-atom reference"
    VALENCE = "valence electrons"
    BAD_LOCATION = "bad location"
    DOWNLOAD = "download failed"
    CHECKSUM = "checksum"
    UNKNOWN_ID = "unknown id"
    NOT_SELECTED = "outside the selection"
    BAD_DOCUMENT = "bad document"
    NOT_CONVERGED = "run not converged"
    UNSEEN_ELEMENT = "element not in the training set"
    OTHER_ENGINE = "density of another engine"


class RejectedMaterialError(Exception):
    """A material cannot be used; it becomes a row of rejected.csv and the run goes on.

    Parameters
    ----------
    reason : Reason
        The kind of defect.
    detail : str
        What was found, in which file, and what to do about it.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class StudyError(ValueError):
    """Something is wrong with the study (its config, its files), not with one material: the run stops."""


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with the message alone, without a traceback, when the study is at fault."""
    try:
        yield
    except StudyError as error:
        sys.exit(f"rhoflow: {error}")
