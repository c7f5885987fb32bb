"""Settings of the densities and their images."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from rhoflow.config.elements import ELEMENTS
from rhoflow.config.section import Positive, Section, near

DensityField = Literal["total", "spin", "deformation", "all_electron"]


class Grid(Section):
    """The unified voxel grid."""

    shape: tuple[int, int, int] = Field((60, 60, 60), description="points along a, b, c of every material")

    @field_validator("shape")
    @classmethod
    def _points(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(shape) < 4:
            raise ValueError("needs at least 4 points along each axis")
        return shape


class Fences(Section):
    """Frozen limits of the IQR filter, copied from a former study's dataset/fences.json."""

    minimum: tuple[float, float] = Field(description="lowest and highest allowed minimum of the field [e/A^3]")
    maximum: tuple[float, float] = Field(description="lowest and highest allowed maximum of the field [e/A^3]")

    @field_validator("minimum", "maximum")
    @classmethod
    def _ordered(cls, fence: tuple[float, float]) -> tuple[float, float]:
        if not fence[0] <= fence[1]:
            raise ValueError("the lowest allowed value comes first, then the highest")
        return fence


class Clean(Section):
    """The outlier filter on the minima and maxima of the field."""

    iqr_factor: Positive | None = Field(
        1.5, description="fences at quartile -+ this many interquartile ranges, as published; null: no filter"
    )
    fences: Fences | None = Field(None, description="frozen fences instead, so that a paper's data stay put")


class Deformation(Section):
    """The free atoms that are taken away where the field is `deformation`."""

    smoothing: float = Field(
        0.0,
        ge=0,
        description="width of the Gaussian filter that the densities went through [A]; VASP: 0, resources/demo: 0.08",
    )


class Window(Section):
    """The square cut out of the plane: give one of the two."""

    cells: int | None = Field(
        8, ge=1, description="largest square in the (111) section of an n x n x n supercell (F lattices; papers: 8)"
    )
    angstrom: Positive | None = Field(None, description="side of the square [A] (any crystal; set cells to null)")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.cells is None) == (self.angstrom is None):
            raise ValueError("give exactly one of cells and angstrom, and set the other to null")
        return self


class SliceOptions(Section):
    """The image of a crystal: its density on a lattice plane."""

    plane: Literal["densest"] | tuple[int, int, int] = Field(
        (1, 1, 1), description="(hkl) of the conventional standard cell, or `densest` (highest atomic density)"
    )
    through: str | float = Field(
        "heaviest", description="site on the plane: `heaviest`, `mean` over sites, an element, or a fractional height"
    )
    planes: Literal[1, 3] = Field(
        1,
        description="parallel planes, the channels of the image: 1, or 3 a third of the plane spacing apart, the"
        " middle one through the site",
    )
    window: Window = Window()
    pixels: int = Field(96, ge=8, le=4096, description="pixels a side (papers: 299 in v3, 75 in v1)")
    transform: Literal["none", "arcsinh"] = Field("none", description="applied before the z-score")
    clip: Annotated[float, Field(gt=50, le=100)] | None = Field(
        None, description="percentile of |z| at which the image is clipped; null: as published, no clipping"
    )
    content: Literal["density", "fourier"] = Field(
        "density",
        description="what the image shows: the density, or the magnitude of its Fourier transform (logarithmic, from"
        " -1: none to 1: the strongest wave)",
    )
    fourier: bool = Field(False, description="also store the magnitude of the image's Fourier transform")
    png: bool = Field(True, description="also write PNGs for people")
    as_published: bool = Field(
        False, description="cut the unified grid in the papers' order of steps instead of the exact Fourier slice"
    )

    @field_validator("plane")
    @classmethod
    def _not_null(cls, plane: str | tuple[int, int, int]) -> str | tuple[int, int, int]:
        if plane == (0, 0, 0):
            raise ValueError("(0, 0, 0) is no plane")
        return plane

    @field_validator("through")
    @classmethod
    def _a_site(cls, through: str | float) -> str | float:
        known = ("heaviest", "mean", *ELEMENTS)
        if through not in known if isinstance(through, str) else not math.isfinite(through):
            hint = near(str(through), known)
            raise ValueError(f"must be heaviest, mean, an element's symbol or a number without quotes{hint}")
        return through
