"""What a study needs from outside: keys, which are never shown, and pretrained weights."""

from __future__ import annotations

from pathlib import Path

from rhoflow.config import Study
from rhoflow.doctor.finding import Finding, ok, problem
from rhoflow.errors import StudyError
from rhoflow.models.hub import CLIP_KEY, HUB, study_weights
from rhoflow.models.weights import RANDOM, locate


def check_keys(study: Study) -> list[Finding]:
    """Say whether the keys that the study needs are there; nothing of a key is printed."""
    found = []
    if study.source.kind == "materials_project":
        found.append(_materials_project())
    if "llm" in study.models and not study.llm.dry_run:
        found.append(_language_model(study))
    return found or [ok("key", "the study needs none")]


def _materials_project() -> Finding:
    from rhoflow.sources.materials_project.client import read_key

    try:
        read_key()
    except StudyError as error:
        return problem("key", str(error).split(";")[0], "export MP_API_KEY=<the key of materialsproject.org/api>")
    return ok("key", "of the Materials Project: present (not shown, not tried)")


def _language_model(study: Study) -> Finding:
    from rhoflow.training.incontext.client import read_key

    variable = study.llm.api_key_variable
    try:
        read_key(study.llm)
    except StudyError as error:
        return problem("key", str(error).split(":")[0], f"export {variable}=<the key>, or llm: {{dry_run: true}}")
    return ok("key", f"{variable}: present (not shown, not tried)")


def check_weights(study: Study) -> list[Finding]:
    """Find the weights that the study names, their sha256 checked where it is known."""
    try:
        named = study_weights(study)
    except StudyError as error:
        return [problem("weights", str(error), "see docs/models.md")]
    return [_weights(study, key, name) for key, name in named.items()]


def _weights(study: Study, key: str, name: str) -> Finding:
    if name == RANDOM:
        return ok("weights", f"{key}: random, nothing needed")
    try:
        place = _clip(study) if key == CLIP_KEY else locate(name)
    except StudyError as error:
        change = (
            "rhoflow fetch-weights --study <study's file>" if name.startswith(HUB) else f"{key}: see docs/models.md"
        )
        return problem("weights", f"{key}: {error}", change)
    return ok("weights", f"{key} = {name}: {place}")


def _clip(study: Study) -> Path:
    from rhoflow.models.clip_weights import locate_clip  # here: it imports torch and open_clip

    return locate_clip(study.clip)
