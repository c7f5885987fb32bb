"""One thing that the doctor looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # nothing fails, but it may not be what was meant
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was found, and what to change.

    Attributes
    ----------
    level : Level
        `PROBLEM` where the study would fail.
    topic : str
        What was looked at.
    text : str
        What was found.
    change : str
        The config key, the line of the profile or the command that helps; empty where nothing need be done.
    """

    level: Level
    topic: str
    text: str
    change: str = ""


def ok(topic: str, text: str) -> Finding:
    """Say what is well."""
    return Finding(Level.OK, topic, text)


def note(topic: str, text: str, change: str = "") -> Finding:
    """Say what may not be meant so."""
    return Finding(Level.NOTE, topic, text, change)


def problem(topic: str, text: str, change: str) -> Finding:
    """Say what fails, and what helps."""
    return Finding(Level.PROBLEM, topic, text, change)


def show(findings: Sequence[Finding]) -> str:
    """Put findings into lines, each followed by what to change."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.value:<8} {finding.topic:<8} {finding.text}")
        if finding.change:
            lines.append(f"{'':<8} {'':<8} -> {finding.change}")
    count = sum(finding.level is Level.PROBLEM for finding in findings)
    lines.append("No problem found." if not count else f"{count} problem{'s' if count > 1 else ''} found.")
    return "\n".join(lines)
