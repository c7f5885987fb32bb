"""What every per-shard stage writes beside its store: content digests, statistics, rejections.

A stage maps a function over the materials of one shard. Whoever raises RejectedMaterialError becomes a
rejection of the stage; the others get a digest (for reruns) and statistics (for the study-wide steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rhoflow.errors import RejectedMaterialError
from rhoflow.materials.digests import read_json, write_json

Item = TypeVar("Item")

# Stores of a stage are ``<folder>/<shard><suffix>``; other images (ablation.images) lie in ``images/<name>``.
SUFFIXES = {
    "raw": ".h5",
    "grids": ".zarr.zip",
    "slices": ".npz",
    "images": ".npz",
    "text": ".jsonl",
    "dos": ".h5",
    "embeddings": ".npz",
}


@dataclass
class ShardReport:
    """Digests, statistics and rejections of one stage of one shard.

    Attributes
    ----------
    stage : str
        Name of the stage, e.g. ``"ingest"``.
    digests : dict of str to str
        Content hash of what the stage made, by material id.
    stats : dict of str to dict
        Small JSON facts by material id, e.g. ``{"min": ..., "max": ...}`` [e/A^3].
    rejected : dict of str to dict
        ``{"reason": Reason value, "detail": text}`` by material id.
    """

    stage: str
    digests: dict[str, str] = field(default_factory=dict)
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejected: dict[str, dict[str, str]] = field(default_factory=dict)

    def accept(self, material_id: str, digest: str, **stats: Any) -> None:
        """Record a material that the stage could use."""
        self.digests[material_id] = digest
        self.stats[material_id] = stats

    def reject(self, material_id: str, error: RejectedMaterialError) -> None:
        """Record a material that the stage could not use."""
        self.rejected[material_id] = {"reason": error.reason.value, "detail": error.detail}

    def each(self, items: Iterable[tuple[str, Item]], make: Callable[[str, Item], None]) -> None:
        """Call `make(id, item)` for every item; a RejectedMaterialError is recorded and the next item follows."""
        for material_id, item in items:
            try:
                make(material_id, item)
            except RejectedMaterialError as error:
                self.reject(material_id, error)

    def write(self, store: Path) -> None:
        """Write ``<store>.digest.json`` and ``<store>.summary.json``."""
        write_json(digest_path(store), self.digests)
        summary = {"stage": self.stage, "stats": self.stats, "rejected": self.rejected}
        write_json(summary_path(store), summary)


def digest_path(store: Path) -> Path:
    """Path of the digest file of a shard's store."""
    return store.with_name(store.name + ".digest.json")


def summary_path(store: Path) -> Path:
    """Path of the summary file of a shard's store."""
    return store.with_name(store.name + ".summary.json")


def read_report(store: Path) -> ShardReport:
    """Read back what `ShardReport.write` wrote beside `store`."""
    summary = read_json(summary_path(store))
    digests = read_json(digest_path(store))
    return ShardReport(summary["stage"], digests, summary["stats"], summary["rejected"])
