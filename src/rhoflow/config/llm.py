"""Settings of the language model in context."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from rhoflow.config.learning import Level
from rhoflow.config.section import Positive, Section

Price = Annotated[float, Field(ge=0)]
# The paper (arXiv 2401.09301v1, sec. 4.3) says that there was a role prompt and does not print it.
ROLE = (
    "You are an expert in solid-state physics who estimates properties of crystals. You see the electron charge"
    " density of a crystal on a lattice plane, as an image, and a description of the crystal in words."
)


class LanguageModelInContext(Section):
    """A language model that sees a few crystals with their values in the prompt, then one without (docs/llm.md)."""

    dry_run: bool = Field(True, description="only print calls, tokens and cost; false: ask the model")
    # repr=False: a wrong value of these may be a secret, so no message shows it.
    base_url: str = Field(
        "https://api.openai.com/v1", repr=False, description="any OpenAI-compatible endpoint, without credentials"
    )
    model: str = Field("gpt-4o", min_length=1, description="name of the model at that endpoint; it must read images")
    api_key_variable: str = Field(
        "OPENAI_API_KEY",
        repr=False,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="environment variable that holds the key; the key itself stands in no file",
    )
    levels: tuple[Level, ...] = Field(
        ("formula",), min_length=1, description="text levels, some of the study's (paper: formula)"
    )
    examples: int = Field(
        5, ge=0, le=100, description="crystals of the training part shown with their values (paper: 5)"
    )
    role: str = Field(ROLE, min_length=1, description="role prompt (the paper's is unpublished, this one is ours)")
    detail: Literal["low", "high", "auto"] = Field("low", description="resolution at which the model reads an image")
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="of the answer; null: not sent, for models that refuse it"
    )
    answer_tokens: int = Field(64, ge=8, description="most tokens of an answer, reasoning included")
    answer_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="how the endpoint calls that limit (reasoning models of OpenAI: the latter)"
    )
    concurrency: int = Field(4, ge=1, le=64, description="calls at a time")
    requests_per_minute: Positive = Field(60.0, description="most calls a minute, repeated ones included")
    timeout_s: Positive = Field(120.0, description="longest time for one answer")
    tries: int = Field(6, ge=1, le=20, description="calls for one answer, while the endpoint is busy or unwell")
    image_tokens: int = Field(85, ge=0, description="tokens that an image counts for (gpt-4o at low detail: 85)")
    input_usd_per_million: Price | None = Field(None, description="price of a million tokens sent; null: unknown")
    output_usd_per_million: Price | None = Field(
        None, description="price of a million tokens answered; null: unknown"
    )

    @field_validator("levels")
    @classmethod
    def _unique(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError("each entry may stand only once")
        return levels

    @field_validator("base_url")
    @classmethod
    def _bare_address(cls, url: str) -> str:
        if not _is_bare(url):
            raise ValueError(
                "must be http:// or https://, a host and a path, such as http://localhost:8000/v1; a key belongs into"
                " the environment variable that api_key_variable names"
            )
        return url


def _is_bare(url: str) -> bool:
    """Whether an address has a host, and neither credentials nor a query."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    has_more = parts.query or parts.fragment or "@" in parts.netloc or any(c.isspace() for c in url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not has_more
