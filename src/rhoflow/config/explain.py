"""What pydantic finds wrong with a study, in a user's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from rhoflow.config.section import near

Model = type[BaseModel]


def explain(problem: Any, study: Model) -> str:
    """One line about one problem: key path, value, what is allowed.

    Parameters
    ----------
    problem : dict
        An entry of ``ValidationError.errors()``.
    study : type of BaseModel
        The model that the configuration was checked against.
    """
    path, section = _walk(problem["loc"], study)
    key = ".".join(path)
    if problem["type"] == "extra_forbidden" and section:
        known = list(section.model_fields)
        return f"{key}: unknown key{near(path[-1], known)}; allowed here: {', '.join(known)}"
    message: str = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    field = section.model_fields.get(path[-1]) if section else None
    secret = field is not None and not field.repr  # perhaps a key, pasted where its variable's name belongs
    return f"{key} = {'(not shown)' if secret else repr(problem['input'])}: {message}"


def _walk(loc: tuple[str | int, ...], study: Model) -> tuple[list[str], Model | None]:
    """Keys and indices of a location without pydantic's names of branches of a union, and the last key's section."""
    path: list[str] = []
    holder: Model | None = None  # the section that the last key stands in
    choices: dict[str, Model] = {"": study}  # the sections that the next part may be in, by kind
    named = False  # whether the next part is a name of the user's own, not a key
    for part in loc:
        if part in choices:
            choices = {"": choices[str(part)]}  # a part that says which kind of section follows
        elif named:
            path.append(str(part))
            named = False
        elif (section := choices.get("")) is not None:
            path.append(str(part))
            holder, choices, named = section, _sections_at(section, str(part)), _is_mapping(section, str(part))
        elif isinstance(part, int):
            path.append(str(part))
    return path, holder


def _sections_at(section: Model, key: str) -> dict[str, Model]:
    """Sections that a key of a section may hold: by kind where there are several, by "" where there is one."""
    field = section.model_fields.get(key)
    found = list(_models(field.annotation)) if field else []
    return {"": found[0]} if len(found) == 1 else {model.model_fields["kind"].default: model for model in found}


def _is_mapping(section: Model, key: str) -> bool:
    field = section.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is dict


def _models(annotation: Any) -> Iterator[Model]:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
