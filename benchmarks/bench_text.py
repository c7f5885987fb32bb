"""Descriptions a second: a warm `Describer` against stock robocrystallographer, which prepares itself anew each time.

Both describe the same standard cells in one process, in turns, after a first crystal that does not count. CPU
seconds, so that other work on the machine matters little. The strings must be the same, but for the order of two
lists that stock leaves to Python's hash seed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from rhoflow.text.describe import Describer, settle_order, standard_cell

DEMO = Path(__file__).resolve().parents[1] / "resources" / "demo"
FIRST = "MgO_rocksalt"
CRYSTALS = (
    "Al_fcc",
    "NaCl_rocksalt",
    "ZnS_zincblende",
    "CaF2_fluorite",
    "TiNiSn_half-heusler",
    "Ni2MnAl_heusler",
)
GOAL = 3.0


def rows() -> list[dict[str, Any]]:
    """CPU seconds a crystal, warm and stock."""
    describer = Describer(timeout_s=600.0)
    spent = {"warm": 0.0, "stock": 0.0}
    for name in (FIRST, *CRYSTALS):
        structure = Structure.from_file(DEMO / name / "structure.cif")
        warm, warm_s = timed(lambda crystal: describer.describe(crystal).text, structure)
        stock, stock_s = timed(describe_stock, structure)
        if settle_order(stock) != warm:
            raise AssertionError(f"{name}: the texts differ:\n{stock}\n{warm}")
        if name != FIRST:
            spent["warm"] += warm_s
            spent["stock"] += stock_s
    ratio = spent["stock"] / spent["warm"]
    row = {
        "name": f"text: describe a crystal ({len(CRYSTALS)} crystals, identical texts): CPU seconds",
        "value": spent["warm"] / len(CRYSTALS),
        "reference": spent["stock"] / len(CRYSTALS),
        "ratio": ratio,
        "goal": f">= {GOAL:g} times less",
        "ok": ratio >= GOAL,
    }
    return [row]


def timed(describe: Callable[[Structure], str], structure: Structure) -> tuple[str, float]:
    """Text, and CPU seconds it took."""
    start = time.process_time()
    text = describe(structure)
    return text, time.process_time() - start


def describe_stock(structure: Structure) -> str:
    """Describe as robocrystallographer's documentation does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from robocrys import StructureCondenser, StructureDescriber

        return str(StructureDescriber().describe(StructureCondenser().condense_structure(standard_cell(structure))))
