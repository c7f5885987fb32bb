"""Where raw materials come from: one's own folders, the Materials Project, or somebody's published list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from rhoflow.config.elements import ELEMENTS
from rhoflow.config.section import Section, near
from rhoflow.properties import BUILT_IN

Symbol = str
Range = tuple[float | None, float | None]
Connections = Annotated[int, Field(ge=1, le=32)]


class DirectorySource(Section):
    """A folder tree of VASP runs or bare density files, e.g. one's own calculations."""

    kind: Literal["directory"] = Field("directory", description="where the materials come from")
    path: Path = Field(
        Path("resources/demo"),
        description="every folder below it with a CHGCAR or CHG is a material (plain, .gz, .xz, .bz2)",
    )
    properties: Path | None = Field(
        Path("properties.csv"),
        description="table of properties, relative to `path`: a column material_id, units in the column names;"
        " null: what the runs' vasprun.xml or OUTCAR say is all there is",
    )


class MaterialsProjectSource(Section):
    """Densities of the Materials Project; needs an API key in MP_API_KEY or in pymatgen's settings file."""

    kind: Literal["materials_project"] = Field("materials_project", description="where the materials come from")
    ids: tuple[str, ...] | Path | None = Field(
        None, description="only these material ids: a list, or a file with one id a line"
    )
    stable: bool = Field(True, description="only materials on the convex hull")
    energy_above_hull_max: float | None = Field(
        None, ge=0, description="highest energy above the hull [eV/atom]; set stable to false"
    )
    lattice: Literal["any", "fcc", "fcc_loose"] = Field(
        "any",
        description="fcc: the cubic F space groups (196, 202, 203, 209, 210, 216, 219, 225-228);"
        " fcc_loose: every cubic space group",
    )
    space_groups: tuple[Annotated[int, Field(ge=1, le=230)], ...] = Field(
        (), description="only these space group numbers; none: all"
    )
    crystal_system: (
        Literal["cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic"] | None
    ) = Field(None, description="only this crystal system")
    elements: tuple[Symbol, ...] = Field((), description="only materials that hold all of these elements")
    exclude_elements: tuple[Symbol, ...] = Field((), description="only materials that hold none of these")
    nelements: tuple[int, int] | None = Field(None, description="fewest and most elements")
    ranges: dict[str, Range] = Field(
        {}, description="property: [lowest, highest], in house units (docs/own-data.md); null: no limit on that side"
    )
    complete: bool = Field(False, description="only materials with all 25 properties of the papers")
    needs_density: bool = Field(
        True, description="leave materials without a density out of the selection; false: list them as rejected"
    )
    limit: int | None = Field(None, ge=1, description="only the first so many, in the order of their ids")
    functionals: tuple[Literal["GGA", "GGA+U", "PBEsol", "r2SCAN", "SCAN"], ...] = Field(
        ("GGA", "GGA+U"), min_length=1, description="static calculations to take a density from; the newest one wins"
    )
    descriptions: Literal["materials_project", "own"] = Field(
        "materials_project", description="take the project's text where it has one, or always describe here"
    )
    connections: Connections = Field(4, description="downloads at a time in one job (the profile limits the sum)")
    keep_downloads: bool = Field(False, description="keep downloaded objects in downloads/, for other studies")

    @field_validator("elements", "exclude_elements")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if symbol not in ELEMENTS:
                raise ValueError(f"{symbol!r} is no element{near(symbol, ELEMENTS)}")
        return symbols

    @field_validator("ranges")
    @classmethod
    def _ranges(cls, ranges: dict[str, Range]) -> dict[str, Range]:
        for key, (low, high) in ranges.items():
            if key not in BUILT_IN:
                raise ValueError(f"unknown property {key!r}{near(key, BUILT_IN)}; known: {', '.join(BUILT_IN)}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"{key}: the lowest value comes first, then the highest")
        return ranges

    @field_validator("nelements")
    @classmethod
    def _ordered(cls, nelements: tuple[int, int] | None) -> tuple[int, int] | None:
        if nelements is not None and not 1 <= nelements[0] <= nelements[1]:
            raise ValueError("fewest comes first, then most, at least 1")
        return nelements

    @model_validator(mode="after")
    def _one_hull_limit(self) -> Self:
        if self.stable and self.energy_above_hull_max is not None:
            raise ValueError("energy_above_hull_max asks for unstable materials: set stable to false")
        if self.lattice != "any" and (self.space_groups or self.crystal_system):
            raise ValueError("lattice names space groups itself: give it or space_groups and crystal_system")
        return self


class ManifestSource(Section):
    """A published list of materials with checksums, to rebuild a dataset; needs no API key."""

    kind: Literal["manifest"] = Field("manifest", description="where the materials come from")
    file: Path = Field(description="the list, as `rhoflow manifest` writes it")
    folder: Path | None = Field(
        None, description="where the density files of the list lie; null: those of the list's own folder"
    )
    connections: Connections = Field(4, description="downloads at a time in one job (the profile limits the sum)")
    keep_downloads: bool = Field(False, description="keep downloaded objects in downloads/, for other studies")


Source = Annotated[DirectorySource | MaterialsProjectSource | ManifestSource, Field(discriminator="kind")]
