"""Answers of the model, kept by the hash of what was asked: what was answered once is never paid for again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_json, write_json


class Answer(BaseModel):
    """What the model said.

    Attributes
    ----------
    text : str
        Empty where there is none.
    finish : str
        Why the model stopped: ``stop``, ``length``, ``content_filter`` ...
    refused : bool
        Whether the endpoint called it a refusal.
    served_by : str
        What the endpoint calls the model, e.g. with a date.
    input_tokens, output_tokens : int
        As the endpoint counted them; 0 where it did not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    finish: str = ""
    refused: bool = False
    served_by: str = ""
    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0


@dataclass(frozen=True)
class AnswerStore:
    """The folder ``llm/answers`` of a study.

    An answer is ``<aa>/<sha256>.json`` with ``asked``, the body that was sent with a hash in place of each image, and
    ``answer``. The name is the sha256 of the whole body, i.e. of model, messages and parameters, not of the address.
    """

    folder: Path

    def path(self, body: dict[str, Any]) -> Path:
        """File of the answer to a body."""
        name = digest_json(body)
        return self.folder / name[:2] / f"{name}.json"

    def __contains__(self, body: dict[str, Any]) -> bool:
        return self.path(body).exists()

    def read(self, body: dict[str, Any]) -> Answer:
        """Answer to a body.

        Raises
        ------
        StudyError
            If the file is damaged.
        """
        path = self.path(body)
        try:
            return _Stored.model_validate_json(path.read_bytes()).answer
        except ValidationError:
            raise StudyError(f"{path}: damaged; remove it, and the model is asked again") from None

    def write(self, body: dict[str, Any], answer: Answer) -> None:
        """Keep an answer."""
        write_json(self.path(body), {"asked": _without_images(body), "answer": answer.model_dump()})


class _Stored(BaseModel):
    asked: dict[str, Any]
    answer: Answer


def _without_images(body: dict[str, Any]) -> dict[str, Any]:
    short = copy.deepcopy(body)
    for message in short["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image_url":
                part["image_url"]["url"] = f"sha256:{digest_json(part['image_url']['url'])}"
    return short
