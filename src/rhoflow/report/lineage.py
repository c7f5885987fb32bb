"""From a table back to the raw densities: which file of a study was made from which.

The trail is a graph of paths below the study's result folder. Besides files it has nodes ``series/<model>/<target>/
<level>``, the runs of which differ in fold and seed only: tables are made from series, series from runs, runs from
checkpoints, these from views and from what a search chose, views from the stores of the shards, these from the
archives of densities, these from the plan, which names the raw files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rhoflow.config import KNOWN_NETWORKS, Study
from rhoflow.dataset.names import DENSITY, EMBEDDINGS, NO_TEXT, STRUCTURE
from rhoflow.dataset.stores import STORES, store_path
from rhoflow.materials.digests import digest_file, digest_json, read_json
from rhoflow.materials.shards import digest_path
from rhoflow.models.names import WEIGHTS
from rhoflow.report.crystals import kept_shards
from rhoflow.report.names import SALIENCY, figure_names, has_saliency, table_names
from rhoflow.report.runs import run_folders
from rhoflow.sources.plan import plan_paths
from rhoflow.training.names import (
    LLM,
    METRICS,
    PREDICTIONS,
    PROVENANCE,
    READERS,
    base_of,
    parent_of,
    parents,
    run_level,
    view_level,
)
from rhoflow.training.search.names import TABLE as SEARCH_TABLE
from rhoflow.training.search.names import chosen_file

Edges = dict[str, list[str]]
SNAPSHOT = "catalog/materials_project.jsonl.gz"
CATALOG = "catalog/materials.parquet"
KEPT, TARGETS, SPLITS = (f"dataset/{name}" for name in ("kept.csv", "targets.parquet", "splits.json"))
# Figures of what the models see, and the stores that they show.
_INPUT_FIGURES = {
    "slices": ("slices/{shard}.npz",),
    "creation": ("raw/{shard}.h5", "slices/{shard}.npz"),
    "heights": ("raw/{shard}.h5",),
}
# Files that make a node of the trail too big to read again for its hash.
_STORE_FOLDERS = (*STORES, "images", EMBEDDINGS, "dos")


def trail(root: Path, study: Study) -> Edges:
    """Return what each file of a finished study was made from, by path below `root`; raw files are not in it."""
    shards = sorted(kept_shards(root))
    edges: Edges = {}
    series: dict[str, list[str]] = {}
    for folder in run_folders(root, study):
        run = folder.relative_to(root).as_posix()
        _, model, target, level, fold, seed = run.split("/")
        series.setdefault(f"series/{model}/{target}/{level}", []).extend([f"{run}/{METRICS}", f"{run}/{PREDICTIONS}"])
        edges |= _of_run(root, study, run, (model, target, level), fold, seed)
    edges |= series
    edges |= _of_results(root, study, list(series))
    for search in sorted({name for sources in edges.values() for name in sources if name.startswith("search/")}):
        edges[search] = _of_search(root, study, search)
    for view in sorted({name for sources in edges.values() for name in sources if name.startswith("views/")}):
        edges[view] = [KEPT, TARGETS, SPLITS, *(f"{_store(view)}".format(shard=shard) for shard in shards)]
    # Every stage has a word in who is kept, of all shards; runs, which lie in the archives, may bring target values.
    planned = sorted({*shards, *(path.stem for path in plan_paths(root / "plan"))})
    archives = [f"raw/{shard}.h5" for shard in planned]
    edges[KEPT] = [CATALOG, *(_name(root, store_path(root, folder, shard)) for folder in STORES for shard in planned)]
    for store in sorted({name for sources in edges.values() for name in sources if _is_store(name)}):
        edges[store] = [f"raw/{_shard(store)}.h5"]
        given = f"plan/{_shard(store)}.texts.json.gz"  # descriptions that came with the source
        if store.startswith("text/") and (root / given).exists():
            edges |= {store: [*edges[store], given], given: [SNAPSHOT if (root / SNAPSHOT).exists() else CATALOG]}
    edges |= {f"raw/{shard}.h5": [f"plan/{shard}.json"] for shard in planned}
    edges |= {f"plan/{shard}.json": [CATALOG] for shard in planned}
    edges |= {TARGETS: [CATALOG, *archives], SPLITS: [KEPT]}
    if (root / SNAPSHOT).exists():
        edges[CATALOG] = [SNAPSHOT]
    return {name: edges[name] for name in sorted(edges)}


def _of_run(root: Path, study: Study, run: str, kind: tuple[str, str, str], fold: str, seed: str) -> Edges:
    """Edges of one run's files: to its weights, where it has any, and of these to parents, search and views."""
    model, target, level = kind
    base, _ = base_of(model)
    levels = {view_level(model, level), *([view_level(model, NO_TEXT)] if base in (*READERS["image"], LLM) else [])}
    made_from = [f"views/{target}.{one}.{fold.removeprefix('fold')}.json" for one in sorted(levels)]
    if base in study.search.models:
        made_from.append(chosen_file(base, target, level, fold.removeprefix("fold")))
    for parent in parents(study, base) if base in KNOWN_NETWORKS else ():
        weights = f"runs/{parent_of(model, parent)}/{target}/{run_level(parent, level)}/{fold}/{seed}/{WEIGHTS}"
        made_from += [weights] if (root / weights).exists() else []
    made = [f"{run}/{METRICS}", f"{run}/{PREDICTIONS}"]
    if not (root / run / WEIGHTS).exists():
        return {key: list(made_from) for key in made}
    return {**{key: [f"{run}/{WEIGHTS}"] for key in made}, f"{run}/{WEIGHTS}": made_from}


def _of_search(root: Path, study: Study, search: str) -> list[str]:
    """Return what a fold's choice of settings was made from: views, and the choices for what it is built on."""
    _, model, target, level, file = search.split("/")
    fold = Path(file).stem.removeprefix("fold")
    levels = {level, NO_TEXT} if model in READERS["image"] else {level}
    views = [f"views/{target}.{one}.{fold}.json" for one in sorted(levels)]
    of_parents = (chosen_file(parent, target, run_level(parent, level), fold) for parent in parents(study, model))
    return [*views, *(one for one in of_parents if (root / one).exists())]


def _of_results(root: Path, study: Study, series: list[str]) -> Edges:
    """Edges of tables and figures: a figure of one target is made from this target's series.

    Only what the study has: a table that it no longer has stays in its folder, with the lineage of another day.
    """
    searches = [
        _name(root, path)
        for model in study.search.models
        for path in sorted(root.glob(f"search/{model}/*/*/fold*.json"))
    ]
    made = {f"tables/{name}": series for name in table_names(study)}
    made |= {f"tables/{name}": searches for name in SEARCH_TABLE if study.search.models}
    for name in [*figure_names(study), *([SALIENCY] if has_saliency(study) else [])]:
        sources = _of_figure(root, study, name, series)
        made |= {f"figures/{name}.{suffix}": sources for suffix in ("png", "svg")}
    return {name: sources for name, sources in made.items() if (root / name).is_file()}


def _of_figure(root: Path, study: Study, name: str, series: list[str]) -> list[str]:
    """Return what one figure is made from."""
    shards = sorted(kept_shards(root))
    if name in _INPUT_FIGURES:
        return [store.format(shard=shard) for store in _INPUT_FIGURES[name] for shard in shards]
    if name.startswith(("distribution", "elements")):
        return [KEPT, TARGETS, SPLITS]
    if name == SALIENCY:
        weights = f"runs/image/{study.targets[0]}/{NO_TEXT}/fold0/seed{study.seeds[0]}/{WEIGHTS}"
        return [*([weights] if (root / weights).exists() else []), *(f"slices/{shard}.npz" for shard in shards)]
    ours = [target for target in study.targets if name.endswith(f"_{target}")]
    return [one for one in series if not ours or one.split("/")[2] in ours]


def _store(view: str) -> str:
    """Pattern of the stores that a view is a digest of."""
    level = view.rsplit(".", 3)[1]
    if level == DENSITY:
        return "grids/{shard}.zarr.zip"
    if level == STRUCTURE:
        return f"{EMBEDDINGS}/{{shard}}.npz"
    if level.startswith(f"{NO_TEXT}-"):
        return f"images/{level.removeprefix(f'{NO_TEXT}-')}/{{shard}}.npz"
    return "slices/{shard}.npz" if level == NO_TEXT else "text/{shard}.jsonl"


def _is_store(name: str) -> bool:
    return name.partition("/")[0] in _STORE_FOLDERS and not name.startswith("raw/")


def _shard(store: str) -> str:
    return Path(store).name.partition(".")[0]


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def fingerprints(root: Path, edges: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Hash every file of a trail, by path below `root`.

    ``{"sha256", "bytes"}``; of a store, which may be huge, ``{"content", "bytes"}``, the hash over the content of its
    materials, which does not depend on how they were packed. Weights are taken from the run's own record.
    """
    names = {*edges, *(source for sources in edges.values() for source in sources)}
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(names):
        path = root / name
        if not path.is_file():
            continue
        size = path.stat().st_size
        if name.partition("/")[0] in _STORE_FOLDERS and digest_path(path).exists():
            found[name] = {"content": digest_json(read_json(digest_path(path))), "bytes": size}
        else:
            found[name] = {"sha256": _noted(path) or digest_file(path), "bytes": size}
    return found


def _noted(path: Path) -> str | None:
    """Return sha256 of weights as their training noted it."""
    record = path.with_name(PROVENANCE)
    if path.name != WEIGHTS or not record.exists():
        return None
    sha256: str | None = read_json(record).get("sha256", {}).get(path.name)
    return sha256
