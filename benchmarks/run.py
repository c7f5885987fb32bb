"""Run all benchmarks and write results/bench.json: ratios measured side by side in this run.

Each benchmarks/bench_<room>.py has ``rows()``, a list of {name, value, reference, ratio, goal, ok}; `value` is ours,
`reference` what is compared with, `goal` the ratio aimed at in words.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent
OUTPUT = Path("results/bench.json")


def main() -> int:
    """Run, print and write; exit status 1 if a goal was missed."""
    sys.path.insert(0, str(FOLDER))
    rows: list[dict[str, Any]] = []
    for path in sorted(FOLDER.glob("bench_*.py")):
        print(f"{path.name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(path.stem).rows()
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(rows)
    return 0 if all(row["ok"] for row in rows) else 1


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table("name", "rhoflow", "reference", "ratio", "goal", "ok")
    for row in rows:
        numbers = (f"{row[key]:.4g}" for key in ("value", "reference", "ratio"))
        table.add_row(row["name"], *numbers, str(row["goal"]), "yes" if row["ok"] else "NO")
    Console(width=140).print(table)
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    sys.exit(main())
