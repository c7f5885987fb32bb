"""The methods paragraph of a paper, with the study's own numbers: Markdown, LaTeX and BibTeX of all that it cites.

Every sentence comes from the resolved settings or from what the study wrote; what is not known is said to be unknown.
Citations stand as ``[[key]]`` or ``[[key, key]]`` in the sentences, keys of references.bib.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rhoflow.config import Study
from rhoflow.materials.digests import atomic
from rhoflow.report.methods_data import (
    computing_sentences,
    data_sentences,
    evaluation_sentences,
    input_sentences,
    split_sentences,
)
from rhoflow.report.methods_models import model_sentences, training_sentences
from rhoflow.report.render import escape_latex, escape_markdown

REFERENCES = Path(__file__).parent / "references.bib"
FILES = ("methods.md", "methods.tex", "references.bib")
_CITED = re.compile(r"\s*\[\[([\w, ]+)\]\]")


def paragraphs(root: Path, study: Study, record: Mapping[str, Any]) -> list[str]:
    """Paragraphs with citations: data, images and texts, splits, models and training, evaluation, computing."""
    return [
        " ".join(sentences)
        for sentences in (
            data_sentences(root, study, record),
            input_sentences(study, record["dataset"]["texts"]),
            split_sentences(study.splits, record["splits"]["parts"]),
            model_sentences(study),
            training_sentences(study),
            evaluation_sentences(study),
            computing_sentences(record),
        )
        if sentences
    ]


def write_methods(folder: Path, told: Iterable[str], *, version: str) -> None:
    """Write methods.md, methods.tex and references.bib with the entries that are cited."""
    told = list(told)
    keys = list(dict.fromkeys(key for text in told for key in cited(text)))
    _write(folder / "methods.md", "# Methods\n\n" + "\n\n".join(map(to_markdown, told)) + "\n")
    _write(folder / "methods.tex", "\\section*{Methods}\n\n" + "\n\n".join(map(to_latex, told)) + "\n")
    _write(folder / "references.bib", bibliography(keys, version=version))


def cited(text: str) -> list[str]:
    """Keys that a paragraph cites, in order."""
    return [key.strip() for group in _CITED.findall(text) for key in group.split(",")]


def to_plain(text: str) -> str:
    """Text without citations."""
    return _CITED.sub("", text)


def to_markdown(text: str) -> str:
    """Markdown with pandoc's citations, ``[@a; @b]``."""
    return _with_citations(text, escape_markdown, lambda keys: " [" + "; ".join(f"@{key}" for key in keys) + "]")


def to_latex(text: str) -> str:
    r"""LaTeX with ``~\cite{a,b}``."""
    return _with_citations(text, escape_latex, lambda keys: "~\\cite{" + ",".join(keys) + "}")


def _with_citations(text: str, escape: Any, cite: Any) -> str:
    pieces = _CITED.split(text)  # text and keys in turn
    return "".join(
        cite([key.strip() for key in piece.split(",")]) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def bibliography(keys: Iterable[str], *, version: str) -> str:
    """BibTeX entries of the keys, in the order of references.bib; that of rhoflow with its version."""
    entries = read_references()
    wanted = set(keys)
    text = "\n".join(entries[key] for key in entries if key in wanted)
    return text.replace("@software{rhoflow,\n", f"@software{{rhoflow,\n  version = {{{version}}},\n")


def read_references() -> dict[str, str]:
    """Entries of references.bib by key."""
    text = REFERENCES.read_text(encoding="utf-8")
    return {found[2]: found[0] for found in re.finditer(r"^@(\w+)\{(\w+),\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)}


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
