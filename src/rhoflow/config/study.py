"""The study as a whole; its parts are the modules beside this one."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from rhoflow.config.ablation import Ablation, check_ablation, check_fusion
from rhoflow.config.density import Clean, Deformation, DensityField, Grid, SliceOptions
from rhoflow.config.explain import explain
from rhoflow.config.learning import Clip, Fusion, ImageModel, Level, Readout, TextModel, Training
from rhoflow.config.llm import LanguageModelInContext
from rhoflow.config.networks import NetworkName
from rhoflow.config.own_properties import OwnProperty, add_own
from rhoflow.config.search import Search
from rhoflow.config.secrets import refuse_secrets
from rhoflow.config.section import Fraction, Positive, Section, Seed, near
from rhoflow.config.sources import DirectorySource, Source
from rhoflow.errors import StudyError
from rhoflow.properties import BUILT_IN, ZERO_UP_TO


class Text(Section):
    """The description of a crystal."""

    timeout_s: Positive = Field(120, description="longest time for one structure; after it a fall-back text is used")


class Splits(Section):
    """Who trains, validates, tests; decided by a stable hash, so a new material moves nobody (element: few)."""

    strategy: Literal["random", "composition", "prototype", "cluster", "element"] = Field(
        "random",
        description="what never straddles a split: one material, one composition, one structure prototype, one"
        " cluster of like compositions; element: whole elements are held out",
    )
    test: Fraction = Field(0.15, description="share of the test set")
    folds: int = Field(3, ge=2, description="cross-validation folds on the rest (papers: 5)")
    seed: int = Field(0, ge=0, description="another seed, another partition")
    repeats: int = Field(
        1,
        ge=1,
        description="partitions, of seed, seed + 1, ...; clip is trained on all of them, and then the baselines too;"
        " the rest on the first",
    )

    @property
    def indices(self) -> range:
        """Fold indices of all repeats: fold k of repeat r is ``r * folds + k``."""
        return range(self.folds * self.repeats)


class Report(Section):
    """How results are shown."""

    bootstrap: int = Field(2000, ge=100, description="resamples of the 95 % intervals")
    examples: int = Field(6, ge=1, le=24, description="example slices shown")


class Study(Section):
    """A study: which data, which images and texts, which models, and how they are judged."""

    study: str = Field(
        "demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name; results go to results/<name>"
    )
    source: Source = DirectorySource()
    shards: int = Field(
        2, ge=1, le=2000, description="groups of materials that are processed together; about n / 256"
    )
    raw: Literal["native", "float32", "none"] = Field(
        "native",
        description="what is kept of a density: native: its own grid, lossless; float32: its own grid, half the disk;"
        " none: the unified grid alone",
    )
    field: DensityField = Field(
        "total",
        description="the density: total (valence), spin (up minus down), deformation (total minus free atoms),"
        " all_electron (AECCAR0 + AECCAR2)",
    )
    deformation: Deformation = Deformation()
    dos: bool = Field(False, description="also gather densities of states")
    grid: Grid = Grid()
    clean: Clean = Clean()
    dataset_version: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="keep exactly the materials of datasets/<version>.json, which `rhoflow freeze` wrote, so that a"
        " paper's numbers stay while data grows; null: all that pass the filters",
    )
    slices: SliceOptions = SliceOptions()
    text: Text = Text()
    properties: dict[str, OwnProperty] = Field(
        {},
        description="properties of your own table that rhoflow does not know, e.g. {stacking_fault_energy: {label:"
        " stacking-fault energy, unit: mJ/m^2}} (docs/own-data.md)",
    )
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
    models: tuple[Literal[NetworkName, "llm"], ...] = Field(
        ("image", "text", "fusion"),
        description="networks to train, and llm, a language model in context; baselines always run",
    )
    baselines: tuple[Literal["chgnet-ridge"], ...] = Field(
        (),
        description="further baselines: chgnet-ridge, ridge on the structure's embedding by CHGNet, which was trained"
        " on the Materials Project's energies (docs/models.md)",
    )
    image: ImageModel = ImageModel()
    language: TextModel = TextModel()
    readout: Readout = Readout()
    fusion: Fusion = Fusion()
    clip: Clip = Clip()
    two_part: bool = Field(
        False,
        description=f"for targets that are zero for many crystals ({', '.join(ZERO_UP_TO)}, and properties with"
        " zero_up_to; no others): networks and baselines predict the chance of not being zero and the value of those"
        " that are not (docs/models.md)",
    )
    training: Training = Training()
    search: Search = Search()
    llm: LanguageModelInContext = LanguageModelInContext()
    ablation: Ablation = Ablation()
    report: Report = Report()

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, config: Any) -> Any:
        """Drop what is left of the default source where a study names a source of another kind.

        Snakemake lays a study's file over config.yaml key by key, so the default's own keys stay.
        """
        source = config.get("source") if isinstance(config, dict) else None
        if not isinstance(source, dict):
            return config
        source = {"kind": "directory", **source}
        if source["kind"] != "directory":
            default = DirectorySource().model_dump(mode="json")
            source = {key: value for key, value in source.items() if key == "kind" or default.get(key) != value}
        return {**config, "source": source}

    @field_validator("properties")
    @classmethod
    def _made_known(cls, properties: dict[str, OwnProperty]) -> dict[str, OwnProperty]:
        add_own(properties)
        return properties

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = (*BUILT_IN, *info.data.get("properties", {}))
        for target in targets:
            if target not in known:
                raise ValueError(
                    f"unknown target {target!r}{near(target, known)}; known: {', '.join(known)}; one of your own"
                    " goes under properties first"
                )
        return targets

    @field_validator("targets", "levels", "seeds", "models", "baselines")
    @classmethod
    def _unique(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("each entry may stand only once")
        return values

    @model_validator(mode="after")
    def _fusion_needs_its_parents(self) -> Self:
        check_fusion("models", self.models, self.fusion.parents)
        return self

    @model_validator(mode="after")
    def _two_parts_need_zeros(self) -> Self:
        others = [target for target in self.targets if target not in ZERO_UP_TO]
        if self.two_part and others and "targets" in self.model_fields_set:
            raise ValueError(
                f"two_part: target {others[0]!r} is not known to be zero for many crystals; give"
                f" {' and '.join(ZERO_UP_TO)} a study of their own"
            )
        return self

    @model_validator(mode="after")
    def _search_is_of_this_study(self) -> Self:
        for model in self.search.models:
            if model not in self.models:
                raise ValueError(
                    f"search.models: {model!r} is not among models, which are {', '.join(self.models)}; add it there"
                    " or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _llm_reads_the_studys_texts(self) -> Self:
        missing = [level for level in self.llm.levels if level not in self.levels]
        if "llm" in self.models and missing:
            raise ValueError(f"llm.levels: {missing[0]!r} is not among levels, which are {', '.join(self.levels)}")
        return self

    @model_validator(mode="after")
    def _ablation_is_of_this_study(self) -> Self:
        networks = [model for model in self.models if model != "llm"]
        if self.ablation.side and self.image.side_inputs:
            raise ValueError("ablation.side: image.side_inputs is true for the whole study; set it to false")
        check_ablation(
            self.ablation,
            models=networks,
            parents=self.fusion.parents,
            levels=self.levels,
            targets=self.targets,
            field=self.field,
            slices=self.slices,
        )
        return self

    def with_images(self, name: str) -> Study:
        """Return the study whose own images are those of ``ablation.images.<name>``."""
        other = self.ablation.images[name]
        return self.model_copy(update={"field": other.field or self.field, "slices": other.over(self.slices)})


def load_study(config: dict[str, Any]) -> Study:
    """Validate a configuration dictionary.

    Raises
    ------
    StudyError
        One line a problem: key path, value, what is allowed; of a secret, key path and why, without its value.
    """
    refuse_secrets(config)
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        lines = [explain(problem, Study) for problem in error.errors()]
        raise StudyError("config: " + "\n        ".join(lines)) from None
