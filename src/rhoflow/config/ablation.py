"""Series of a study that are trained again with one thing changed: learning curves, controls, twins, other images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from rhoflow.config.density import DensityField, SliceOptions
from rhoflow.config.explain import explain
from rhoflow.config.learning import Level
from rhoflow.config.networks import NetworkName
from rhoflow.config.section import Section, near

# What else may stand behind a model's name, `image-random` or `image-f25`; `none` is the level of the study's images.
_RESERVED = re.compile(r"random|side|shuffled|none|f\d+")


class OtherImages(Section):
    """Other images of the same crystals; what is not given is as in the study."""

    field: DensityField | None = Field(None, description="the density; null: the study's own")
    slices: dict[str, Any] = Field({}, description="keys of `slices` that differ, e.g. {plane: densest}")

    def over(self, slices: SliceOptions) -> SliceOptions:
        """Slice options of these images, where the study's own are `slices`."""
        return SliceOptions.model_validate(_laid_over(slices.model_dump(mode="json"), self.slices))


class Ablation(Section):
    """Series trained again with one thing changed (docs/ablation.md); empty: none."""

    random: tuple[NetworkName, ...] = Field(
        (), description="networks that also start from random weights, so that what transfer brings is measured"
    )
    side: tuple[Literal["image", "fusion"], ...] = Field(
        (), description="networks that also read what scaling takes out of the images (image.side_inputs)"
    )
    fractions: tuple[int, ...] = Field(
        (), description="shares of the training part [%], for learning curves, e.g. [25, 50, 75]; of baselines too"
    )
    shuffled: tuple[Literal["image", "text"], ...] = Field(
        (), description="inputs dealt out anew among the materials of a part: what a model still learns is not theirs"
    )
    images: dict[str, OtherImages] = Field(
        {}, description="other images of the same crystals by a name of your own, e.g. {spin: {field: spin}}"
    )
    models: tuple[NetworkName, ...] = Field(
        (), description="networks of fractions, shuffled and images; empty: all of the study's"
    )
    levels: tuple[Level, ...] = Field(
        (), description="text levels of every series with something changed but the twins; empty: the study's first"
    )
    random_levels: tuple[Level, ...] = Field((), description="text levels of the twins; empty: all of the study's")
    targets: tuple[str, ...] = Field((), description="targets of these series; empty: all of the study's")

    @field_validator("random", "side", "fractions", "shuffled", "models", "levels", "random_levels", "targets")
    @classmethod
    def _unique(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("each entry may stand only once")
        return values

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [share for share in fractions if not 1 <= share <= 99]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is no share from 1 to 99 %; 25 is a quarter, and the whole is trained anyway"
            )
        return fractions

    @field_validator("images")
    @classmethod
    def _names(cls, images: dict[str, OtherImages]) -> dict[str, OtherImages]:
        for name in images:
            if not re.fullmatch(r"[a-z][a-z0-9]*", name):
                raise ValueError(f"{name!r} is no name for images: lower-case letters and digits, a letter first")
            if _RESERVED.fullmatch(name):
                raise ValueError(f"{name!r} means something else behind a model's name; choose another one")
        return images

    @field_validator("side")
    @classmethod
    def _image_first(cls, side: tuple[str, ...]) -> tuple[str, ...]:
        if side == ("fusion",):
            raise ValueError("fusion with side inputs is built on such an image run; list image too")
        return side


def check_ablation(
    ablation: Ablation,
    *,
    models: Sequence[str],
    parents: Sequence[str],
    levels: Sequence[str],
    targets: Sequence[str],
    field: str,
    slices: SliceOptions,
) -> None:
    """Compare with the rest of the study.

    Parameters
    ----------
    parents : sequence of str
        Networks whose runs a fusion network is built on.

    Raises
    ------
    ValueError
        If the study has no such model, level or target, or other images that cannot be or are the study's own.
    """
    for key, asked, known in (
        ("random", ablation.random, models),
        ("side", ablation.side, models),
        ("models", ablation.models, models),
        ("levels", ablation.levels, levels),
        ("random_levels", ablation.random_levels, levels),
        ("targets", ablation.targets, targets),
    ):
        _check_known(key, asked, known)
    for key, built in (("random", ablation.random), ("models", ablation.models)):
        check_fusion(f"ablation.{key}", built, parents)
    for name, images in ablation.images.items():
        path = f"ablation.images.{name}"
        try:
            other = images.over(slices)
        except ValidationError as error:
            raise ValueError(
                "; ".join(f"{path}.slices.{explain(problem, SliceOptions)}" for problem in error.errors())
            ) from None
        if images.field == "all_electron" != field:
            raise ValueError(
                f"{path}.field = 'all_electron': the study's field is {field}, so its archive is made without the"
                f" AECCAR files; set field: all_electron and give {field} as other images, or take these out"
            )
        if (images.field or field, other) == (field, slices):
            raise ValueError(f"{path}: the study's own images again; give a field, or keys of slices, that differ")


def check_fusion(key: str, models: Sequence[str], parents: Sequence[str]) -> None:
    """Raise ValueError if some models hold the fusion network without those whose runs it is built on."""
    if "fusion" in models and not set(parents) <= set(models):
        both = " and ".join(parents)
        raise ValueError(f"{key}: fusion is built on the {both} runs of its kind; list {both} too")


def _check_known(key: str, asked: Sequence[str], known: Sequence[str]) -> None:
    for entry in asked:
        if entry not in known:
            plain = {"random": "models", "side": "models", "random_levels": "levels"}.get(key, key)
            raise ValueError(
                f"ablation.{key}: {entry!r} is not among {plain}, which are {', '.join(known)}{near(entry, known)};"
                " add it there, or take it out here"
            )


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another key by key, as Snakemake lays a study's file over config.yaml."""
    return below | {
        key: _laid_over(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
