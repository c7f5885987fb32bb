"""Views of the structures' embeddings: they hang on the embeddings, and a material without one stays in the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import crystals, write_dataset, write_stages

from rhoflow.config import Clean
from rhoflow.dataset.load import load_view
from rhoflow.dataset.views import write_views
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import digest_arrays, read_json
from rhoflow.materials.shards import ShardReport
from rhoflow.sources.plan import plan_paths, read_plan

N = 40
MISSING = "c007"


def _write_embeddings(root: Path, numbers: dict[str, float]) -> None:
    """Embeddings that are one number 64 times; c007 has none."""
    (root / "embeddings").mkdir(exist_ok=True)
    for plan in plan_paths(root / "plan"):
        report, rows = ShardReport("embed"), {}
        for material_id in (entry["id"] for entry in read_plan(plan)):
            if material_id == MISSING:
                report.reject(material_id, RejectedMaterialError(Reason.NO_EMBEDDING, "curium"))
                continue
            rows[material_id] = np.full(64, numbers[material_id], dtype=np.float32)
            report.accept(material_id, digest_arrays(rows[material_id]))
        store = root / "embeddings" / f"{plan.stem}.npz"
        np.savez(store, ids=np.array(list(rows), dtype=np.str_), embedding=np.array([*rows.values()]).reshape(-1, 64))
        report.write(store)


NUMBERS = {crystal.material_id: float(k) for k, crystal in enumerate(crystals(N))}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_stages(tmp_path, crystals(N))
    _write_embeddings(tmp_path, NUMBERS)
    write_dataset(tmp_path, clean=Clean(iqr_factor=None))
    write_views(tmp_path, targets=["k_vrh"], levels=["structure"], folds=3)
    return tmp_path


def test_each_material_has_its_own_embedding(root: Path) -> None:
    view = load_view(root, "k_vrh", "structure", 0)
    assert view.embeddings.shape == (N - 1, 64)
    assert view.embeddings[:, 0].tolist() == [NUMBERS[name] for name in view.ids.tolist()]


def test_material_without_an_embedding_is_left_out_of_this_view_alone(root: Path) -> None:
    assert MISSING not in load_view(root, "k_vrh", "structure", 0).ids
    assert MISSING in load_view(root, "k_vrh", "none", 0).ids
    n = {level: sum(read_json(root / f"views/k_vrh.{level}.0.json")["n"].values()) for level in ("none", "structure")}
    assert n == {"none": N, "structure": N - 1}


def test_view_changes_with_an_embedding_and_with_nothing_else(root: Path) -> None:
    file = root / "views/k_vrh.structure.0.json"
    before = file.read_bytes()
    write_views(root, targets=["k_vrh"], levels=["structure"], folds=3)
    assert file.read_bytes() == before
    _write_embeddings(root, NUMBERS | {"c003": 0.5})
    write_views(root, targets=["k_vrh"], levels=["structure"], folds=3)
    assert file.read_bytes() != before


def test_embedding_that_is_not_what_was_noted_stops_the_run(root: Path) -> None:
    store = next((root / "embeddings").glob("*.npz"))
    with np.load(store) as old:
        np.savez(store, ids=old["ids"], embedding=old["embedding"] + 1)
    with pytest.raises(StudyError, match=rf"{store}: .* is not what .* says"):
        load_view(root, "k_vrh", "structure", 0)


def test_embeddings_count_in_what_a_training_sees(root: Path) -> None:
    digests = [load_view(root, "k_vrh", "structure", 0).digest()]
    _write_embeddings(root, NUMBERS | {"c003": 0.5})
    write_views(root, targets=["k_vrh"], levels=["structure"], folds=3)
    digests.append(load_view(root, "k_vrh", "structure", 0).digest())
    assert digests[0] != digests[1]
