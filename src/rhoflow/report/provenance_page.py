"""The page of a study's provenance, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rhoflow.materials.digests import atomic
from rhoflow.report.lineage_path import counts
from rhoflow.report.provenance_jobs import DONE

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(out: Path, record: Mapping[str, Any], methods: Sequence[str]) -> None:
    """Write one self-contained HTML file.

    Parameters
    ----------
    record : mapping
        `provenance_record.make_record`.
    methods : sequence of str
        Paragraphs in plain text.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("provenance.html.j2").render(
        record=record,
        hours=sum(one["hours"] for one in record["costs"].values()),
        gpu_hours=sum(one["gpu_hours"] for one in record["costs"].values()),
        trails=list(_trails(record)),
        cost_rows=[_cost_row(script, cost) for script, cost in record["costs"].items()],
        benchmark_rows=[
            (rule, one["jobs"], f"{one['seconds']:.1f}", _memory(one["max_rss_mb"]))
            for rule, one in record["benchmarks"].items()
        ],
        troubled_rows=[
            (one["job"], ", ".join(one["ends"]), DONE if one["done"] else "not done") for one in record["troubled"]
        ],
        settings=yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True),
        methods=methods,
    )
    with atomic(out) as part:
        part.write_text(page + "\n", encoding="utf-8")


def _trails(record: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    """One row a table or figure: name, sha256, and how many of each kind it goes back to."""
    for name in record["from"]:
        if name.startswith(("tables/", "figures/")) and name in record["files"]:
            found = counts(record["from"], name)
            kinds = ("series", "runs", "checkpoints", "views", "stores", "archives")
            raw = record["dataset"]["n"]["kept"] if found["archives"] else 0
            yield (name, record["files"][name]["sha256"][:16], *(found[kind] for kind in kinds), raw)


def _cost_row(script: str, cost: Mapping[str, Any]) -> tuple[Any, ...]:
    versions = ", ".join([*cost["cuda"], *cost["driver"]]) or "–"
    return (
        *(script, cost["jobs"], cost["attempts"], cost["failed"]),
        *(f"{cost[name]:.3f}" for name in ("hours", "cpu_hours", "gpu_hours")),
        *(_memory(cost["max_rss_mb"]), ", ".join(cost["hosts"]), ", ".join(cost["gpus"]) or "–"),
        *(versions, ", ".join(code[:8] for code in cost["code"])),
    )


def _memory(megabytes: float | None) -> str:
    return "–" if not megabytes else f"{megabytes:.0f}"
