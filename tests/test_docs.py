"""What the documentation names is there: targets, commands, files, links, rules and configuration keys."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from rhoflow import cli
from rhoflow.config import KNOWN_NETWORKS, Study, load_study
from rhoflow.errors import StudyError

PAGES = (
    *("*.md", "docs/*.md", "changelog.d/*.md", "studies/*.yaml"),
    *("resources/demo/README.md", "src/rhoflow/density/form_factors.md"),
)
# Folders of the project that a path may start with; results, logs and scratch are made, not shipped.
SHIPPED = {
    *("benchmarks", "changelog.d", "docs", "envs", "profiles", "resources"),
    *("rules", "src", "studies", "tests", "tools", "workflow"),
}
SUFFIXES = {"html", "json", "csv"}  # of files named like a section, e.g. report.html
PROJECT = Path(__file__).resolve().parents[1]
TEXTS = {
    str(path.relative_to(PROJECT)): path.read_text() for pattern in PAGES for path in sorted(PROJECT.glob(pattern))
}


def snippets(text: str) -> list[str]:
    """Whatever is set as code: spans between backticks, lines of fenced blocks, and snakemake calls in comments."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line for block in fenced for line in block.splitlines()]
    return [*spans, *lines, *re.findall(r"^#.*(snakemake --.*)$", text, flags=re.MULTILINE)]


def missing(text: str, page: str = "README.md") -> list[str]:
    """Everything that a page names and the project does not have."""
    found = snippets(text)
    checks = (_targets, _commands, _options, _paths, _rules, _keys)
    problems = [problem for check in checks for problem in check(found)]
    return [*problems, *_prose(text), *_links(text, PROJECT / page), *_studies(text)]


def _targets(found: list[str]) -> Iterator[str]:
    known = set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    for text in found:
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", text):
            if target not in known:
                yield f"make {target}"


def _commands(found: list[str]) -> Iterator[str]:
    for text in found:
        for command in re.findall(r"^rhoflow ([a-z-]+)", text):
            if CliRunner().invoke(cli.app, [command, "--help"]).exit_code != 0:
                yield f"rhoflow {command}"


def _options(found: list[str]) -> Iterator[str]:
    for text in found:
        command = re.match(r"rhoflow ([a-z-]+)", text)
        for option in re.findall(r" (--[a-z-]+)", text) if command else []:
            if option not in CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [command[1], "--help"]).output:
                yield f"rhoflow {command[1]} {option}"


def _paths(found: list[str]) -> Iterator[str]:
    for text in found:
        for word in text.split():
            path = re.sub(r"<[^>]*>", "*", word.rstrip(",;:.)"))
            folder = path.partition("/")[0]
            if "/" not in path or not re.fullmatch(r"[\w.*/-]+", path):
                continue
            if folder in SHIPPED and not _there(PROJECT, path):
                yield word
            # A module of the library is named without its way there.
            if path.endswith(".py") and folder not in SHIPPED and not _there(PROJECT / "src/rhoflow", path):
                yield word


def _there(root: Path, pattern: str) -> bool:
    return any(root.glob(pattern.rstrip("/")))


def _studies(text: str) -> Iterator[str]:
    """Blocks of YAML that are no study."""
    for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        try:
            load_study(yaml.safe_load(block))
        except StudyError as error:
            yield str(error)


def _prose(text: str) -> Iterator[str]:
    """Pages that a sentence names without a mark-up, e.g. (docs/models.md)."""
    for word in re.findall(r"(?<![\w/.])docs/[\w-]+\.\w+", re.sub(r"`[^`\n]+`|\]\([^)]*\)", "", text)):
        if not (PROJECT / word).exists():
            yield word


def _links(text: str, page: Path) -> Iterator[str]:
    """Links, which begin at the folder of their page, to files or headings that are not there."""
    for target in re.findall(r"\]\(([^)]+)", text):
        file, _, heading = target.partition("#")
        linked = page.parent / file if file else page
        if target.startswith("http"):
            continue
        if not linked.exists() or (heading and heading not in _headings(linked.read_text())):
            yield target


def _headings(text: str) -> set[str]:
    """Headings as a link names them: small letters, dashes for blanks, no other marks."""
    lines = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def _rules(found: list[str]) -> Iterator[str]:
    source = "".join(path.read_text() for path in [PROJECT / "Snakefile", *(PROJECT / "rules").glob("*.smk")])
    known = set(re.findall(r"^\s*(?:rule|checkpoint) (\w+):", source, flags=re.MULTILINE)) | set(KNOWN_NETWORKS)
    for text in found:
        for rule in re.findall(r"^snakemake .*--until (\w+)", text):
            if rule not in known:
                yield f"--until {rule}"


def _keys(found: list[str]) -> Iterator[str]:
    for text in found:
        key, colon, value = text.partition(":")
        parts = key.split(".")
        is_key = parts[0] in Study.model_fields and all(re.fullmatch(r"\w+", part) for part in parts)
        if not is_key or parts[-1] in SUFFIXES:
            continue
        if (len(parts) > 1 or colon) and not (_has_key(Study, parts) or _is_fact(parts)):
            yield text
        elif value.startswith(" "):
            yield from _refused(parts, text, value)


def _is_fact(parts: list[str]) -> bool:
    """Whether this is no setting but one of the facts on a training in metrics.json, e.g. ``training.failures``."""
    sources = (PROJECT / "src/rhoflow/training").rglob("*.py")
    return parts[0] == "training" and any(f'"{parts[1]}":' in source.read_text() for source in sources)


def _has_key(model: Any, parts: list[str]) -> bool:
    """Whether a dotted key leads to a field, through optional sections and unions of them."""
    if not parts:
        return True
    fields = getattr(model, "model_fields", {})
    if parts[0] in fields:
        return any(_has_key(inner, parts[1:]) for inner in _models(fields[parts[0]].annotation))
    return False


def _models(annotation: Any) -> list[Any]:
    """The sections that an annotation allows; the annotation itself where it has none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = [model for one in typing.get_args(annotation) for model in _models(one)]
    return [model for model in inner if hasattr(model, "model_fields")] or [annotation]


def _refused(parts: list[str], text: str, value: str) -> Iterator[str]:
    """Say if the study refuses a value; words that stand for one (``cells: n``) are left out."""
    config = yaml.safe_load(value)
    for part in reversed(parts):
        config = {part: config}
    # Keys that another value of theirs needs.
    beside = {"source.lattice": {"kind": "materials_project"}, "source.complete": {"kind": "materials_project"}}
    beside["source.kind"] = {"file": "list.csv"} if value.strip() == "manifest" else {}
    config.get("source", {}).update(beside.get(".".join(parts), {}))
    try:
        load_study(config)
    except StudyError:
        yield text


@pytest.mark.parametrize("page", TEXTS)
def test_page_names_nothing_that_is_not_there(page: str) -> None:
    assert missing(TEXTS[page], page) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "`make demos`",
        "```bash\nmake tests   # all\n```",
        "`rhoflow result demo`",
        "`rhoflow results demo --foldr x`",
        "see `docs/confg.md`",
        "`density/reed.py`",
        "`rules/<stage>.snk`",
        "[text](docs/nowhere.md)",
        "[text](config.md)",
        "[text](docs/studies.md#nowhere)",
        "more of it (docs/nowhere.md)",
        "`snakemake --profile profiles/default --until plans`",
        "`snakemake --configfile studies/nothing.yaml`",
        "`slices.pixel`",
        "`slices.window.cell`",
        "`field: totl`",
        "`training.faults`",
        "`slices: {window: {cells: 8, angstrom: 12}}`",
        "`source.lattices`",
        "```yaml\nsource:\n  kind: materials_project\n  latice: fcc\n```",
        "# Hours on a CPU:  snakemake --configfile studies/nothing.yaml",
    ],
)
def test_what_is_not_there_is_found(wrong: str) -> None:
    assert len(missing(wrong)) == 1


@pytest.mark.parametrize(
    "right",
    [
        "`make demo`",
        "`rhoflow results demo --folder x`",
        "`docs/config.md`, `density/read.py`, `rules/*.smk`, `src/rhoflow/<room>/`",
        "[text](docs/config.md), [text](docs/conventions.md#splits) and (docs/config.md)",
        "`slices.window.cells: 8`, `source.space_groups`, `clean.fences`, `levels`",
        "`results/<study>/report.html`, `text/<shard>.jsonl`",
    ],
)
def test_what_is_there_is_not_complained_about(right: str) -> None:
    assert missing(right) == []
