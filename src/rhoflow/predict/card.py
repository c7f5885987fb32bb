"""What is known of an ensemble of networks: the content of ``model.json``, checked on reading.

The file may come from anybody. So it is plain JSON, every number is finite, every path stays inside the folder, and
every file has its sha256.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from rhoflow.config import Fences, Section
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file
from rhoflow.report.ensemble import conformal_half_width

CARD = "model.json"
SCHEMA_VERSION = 1
MAX_BYTES = 2**28  # of model.json; 100,000 materials take about 20 MB


def _inside(path: str) -> str:
    """Return a path if it is relative, in plain characters, and leads neither up nor out."""
    parts = PurePosixPath(path).parts
    plain = re.fullmatch(r"[A-Za-z0-9._/+-]+", path)
    if not plain or not parts or path.startswith("/") or ".." in parts:
        raise ValueError("must be a path inside the folder: relative, without '..', of letters, digits and . _ + - /")
    return path


Inside = Annotated[str, AfterValidator(_inside)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class RunCard(Section):
    """One run of the ensemble: where its weights are, its scaler, its errors by part (physical unit).

    The network's output z stands for z * scale + offset.
    """

    fold: Count
    seed: Count
    weights: Inside
    sha256: Sha256
    offset: Finite
    scale: Annotated[Finite, Field(gt=0)]
    n: dict[str, Count]
    metrics: dict[str, dict[str, Finite | None]]
    started_from: dict[str, str]


class Seen(Section):
    """A training crystal: reduced formula, electrons of its density a formula unit, maximum of the field [e/A^3]."""

    formula: Annotated[str, Field(pattern=r"^[A-Za-z0-9.]{1,200}$")]
    electrons: Finite
    maximum: Finite


class PackagedEncoder(Section):
    """A text encoder's tokenizer and configuration that ship inside a pip package."""

    kind: Literal["package"] = "package"
    name: str
    version: str
    sha256: Sha256


class CopiedEncoder(Section):
    """A text encoder's tokenizer and configuration, copied into the folder: name of each file, and its sha256."""

    kind: Literal["folder"] = "folder"
    folder: Inside
    files: dict[Inside, Sha256]


class Coverage(Section):
    """How often the interval held the truth on the test set, with a 95 % binomial interval of that share."""

    n: Count
    covered: Count
    low: Finite
    high: Finite


class Card(Section):
    """An ensemble: the runs of one model, target and level over all folds and seeds.

    `study` holds the study's sections that an input and the network depend on, `splits` the ids by part (``test``, or
    the fold in which they validate), `residuals` the absolute errors of the validation predictions [unit].
    """

    schema_version: Literal[1]
    model: str
    target: str
    unit: str
    level: str
    study: dict[str, Any]
    encoder: Annotated[PackagedEncoder | CopiedEncoder, Field(discriminator="kind")] | None
    runs: tuple[RunCard, ...] = Field(min_length=1)
    splits: dict[str, tuple[str, ...]]
    seen: tuple[Seen, ...] = Field(min_length=1)
    fences: Fences | None
    residuals: tuple[Annotated[Finite, Field(ge=0)], ...]
    coverage: Coverage | None
    lineage: dict[str, str]
    code: dict[str, str | None]
    software: tuple[dict[str, Any], ...]

    @property
    def half_width(self) -> float | None:
        """Half the width of the 90 % split-conformal interval [unit]; None with fewer than 9 residuals."""
        width = conformal_half_width(np.array(self.residuals))
        return width if math.isfinite(width) else None


def read_card(folder: Path) -> Card:
    """Read and check ``model.json`` of an exported folder.

    Raises
    ------
    StudyError
        If there is none, or it is not what rhoflow writes.
    """
    path = folder / CARD
    if not path.is_file():
        raise StudyError(f"{path} does not exist: give the folder that rhoflow export-model wrote")
    if path.stat().st_size > MAX_BYTES:
        raise StudyError(f"{path} has {path.stat().st_size} bytes, at most {MAX_BYTES} are read: not rhoflow's")
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc'])) or 'content'}: {one['msg']}" for one in error.errors()[:5]]
        advice = f"written by another version of rhoflow (this one reads schema_version {SCHEMA_VERSION}) or changed"
        raise StudyError(f"{path}: {advice}; export the model again\n        " + "\n        ".join(lines)) from None


def checked_file(folder: Path, path: str, sha256: str) -> Path:
    """Path of a file of an exported folder, if it really lies inside and has its sha256.

    Raises
    ------
    StudyError
        If it is missing, a link that leads out of the folder, or changed.
    """
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()) or not found.is_file():
        raise StudyError(f"{folder / path}: no file inside the exported folder; export the model again")
    if (digest := digest_file(found)) != sha256:
        raise StudyError(f"{folder / path}: sha256 {digest} instead of {sha256}: changed or damaged; export it again")
    return found
