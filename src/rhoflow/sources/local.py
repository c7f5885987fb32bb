"""Where the files of a material are on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class LocalFiles:
    """The files of one material on this machine.

    Attributes
    ----------
    density : Path
        The density file.
    structure, run : Path or None
        POSCAR or CIF for a file without symbols; vasprun.xml or OUTCAR.
    aeccar : tuple of 3 Path or None
        AECCAR0, 1 and 2.
    sha256 : str or None
        Of `density`, in hex, if it was downloaded or checked.
    aeccar_sha256 : dict of str to str
        Of those of `aeccar` that were downloaded or checked, by ``aeccar0`` .. ``aeccar2``.
    origin : str
        Where `density` comes from, as the plan has it: a path or ``s3://bucket/key``.
    """

    density: Path
    structure: Path | None
    run: Path | None
    aeccar: tuple[Path | None, Path | None, Path | None]
    sha256: str | None
    origin: str
    aeccar_sha256: dict[str, str] = field(default_factory=dict)
