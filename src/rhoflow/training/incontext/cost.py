"""What the questions cost, before a single one is asked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhoflow.config import LanguageModelInContext
from rhoflow.training.incontext.answers import AnswerStore

# English has about four. The demo's texts, in MiniLM's tokens: formulas 1.7, keywords 2.2, whole texts 3.2.
CHARACTERS_PER_TOKEN = 2.5
TOKENS_PER_MESSAGE = 4  # role and separators


@dataclass(frozen=True)
class Estimate:
    """Calls and tokens of a job.

    Attributes
    ----------
    calls : int
        Questions that have no answer yet.
    answered : int
        Questions that have one, which cost nothing.
    input_tokens : int
        Estimate: text by its length, images by `llm.image_tokens`.
    output_tokens : int
        At most: every answer as long as allowed.
    usd : float or None
        Price of both; None where the study names no prices.
    """

    calls: int
    answered: int
    input_tokens: int
    output_tokens: int
    usd: float | None

    def __str__(self) -> str:
        cost = (
            "cost unknown: set llm.input_usd_per_million and llm.output_usd_per_million"
            if self.usd is None
            else f"about {self.usd:.2f} USD"
        )
        return (
            f"{self.calls} calls ({self.answered} more are answered already), about {self.input_tokens} tokens sent,"
            f" at most {self.output_tokens} answered, {cost}"
        )


def estimate(bodies: Iterable[dict[str, Any]], store: AnswerStore, options: LanguageModelInContext) -> Estimate:
    """Add up what is not answered yet; the bodies are taken one by one, and one that comes again costs nothing."""
    calls = answered = sent = 0
    seen: set[Path] = set()
    for body in bodies:
        if (path := store.path(body)) in seen:
            continue
        seen.add(path)
        if path.exists():
            answered += 1
        else:
            calls += 1
            sent += input_tokens(body, options.image_tokens)
    most = calls * options.answer_tokens
    prices = (options.input_usd_per_million, options.output_usd_per_million)
    usd = None if prices[0] is None or prices[1] is None else (sent * prices[0] + most * prices[1]) / 1e6
    return Estimate(calls, answered, sent, most, usd)


def input_tokens(body: dict[str, Any], image_tokens: int) -> int:
    """Estimate the tokens of one question."""
    total = 0
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [part["text"] for part in parts if part["type"] == "text"]
        total += TOKENS_PER_MESSAGE + image_tokens * (len(parts) - len(texts))
        total += sum(math.ceil(len(text) / CHARACTERS_PER_TOKEN) for text in texts)
    return total
