"""Make config.yaml, the JSON schema and the reference page from the Study model: ``python -m rhoflow.config_docs``.

A test fails when the checked-in files differ from what is made here.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rhoflow.config import ManifestSource, MaterialsProjectSource, OtherImages, Study

_WIDTH = 110
_REMAKE = "Made from src/rhoflow/config/ by `make config`: change it there."


def config_yaml() -> str:
    """Return the commented default configuration."""
    head = (
        f"# The default study: bundled data, CPU, minutes. {_REMAKE}\n"
        "# A study of your own is an overlay: put the keys that differ in a file and run\n"
        "#   snakemake --profile profiles/default --configfile my-study.yaml\n"
    )
    text = head + "\n".join(_section_lines(Study(), 0)) + "\n"
    return text.replace("\n\n\n", "\n\n")


def config_markdown() -> str:
    """Return the reference page of all keys."""
    lines = [
        "# Configuration",
        "",
        f"<!-- {_REMAKE} -->",
        "Every key of `config.yaml`, with its default. A study of your own is a file with the keys that differ:",
        "`snakemake --profile profiles/default --configfile my-study.yaml`. A misspelt key, a wrong value or an",
        "unknown target stops the run before anything starts, with the key's path, the value and what is allowed.",
        "`docs/config.schema.json` gives completion in editors.",
    ]
    for path, section in _sections(Study(), ""):
        lines += _table(path or "top level", type(section), dict(section))
        if path == "source":
            for kind in (MaterialsProjectSource, ManifestSource):
                defaults = {name: info.get_default() for name, info in kind.model_fields.items()}
                lines += _table(f"source, of kind `{defaults['kind']}`", kind, defaults)
        if path == "ablation":
            lines += _table("ablation.images, of each name", OtherImages, dict(OtherImages()))
    return "\n".join(lines) + "\n"


def _table(title: str, section: type[BaseModel], values: dict[str, Any]) -> Iterator[str]:
    yield from (
        "",
        f"## {title}",
        "",
        (section.__doc__ or "").strip(),
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    )
    for name, info in section.model_fields.items():
        if not isinstance(values[name], BaseModel):
            default = "required" if info.is_required() else f"`{_scalar(values[name])}`"
            yield f"| `{name}` | {default} | {_meaning(info)} |"


def config_schema() -> str:
    """Return the JSON schema of a study."""
    return json.dumps(Study.model_json_schema(), indent=1, sort_keys=True) + "\n"


def files() -> dict[Path, str]:
    """Return the generated files, by path relative to the project."""
    return {
        Path("config.yaml"): config_yaml(),
        Path("docs/config.md"): config_markdown(),
        Path("docs/config.schema.json"): config_schema(),
    }


def _fields(section: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, info in type(section).model_fields.items():
        yield name, info, getattr(section, name)


def _sections(section: BaseModel, path: str) -> Iterator[tuple[str, BaseModel]]:
    yield path, section
    for name, _, value in _fields(section):
        if isinstance(value, BaseModel):
            yield from _sections(value, f"{path}.{name}".strip("."))


def _section_lines(section: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, info, value in _fields(section):
        if isinstance(value, BaseModel):
            if depth == 0:
                yield ""
            yield f"{indent}{name}:  # {(value.__doc__ or '').strip()}"
            yield from _section_lines(value, depth + 1)
            if depth == 0:
                yield ""
        else:
            yield from _comment(_meaning(info), indent)
            yield f"{indent}{name}: {_scalar(value)}"


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"


def _meaning(info: FieldInfo) -> str:
    return info.description or ""


def _scalar(value: Any) -> str:
    """YAML of a leaf, on one line."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.10f}".rstrip("0")
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Write the generated files into the current folder."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
