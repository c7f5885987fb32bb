from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rhoflow.config import Study, load_study
from rhoflow.materials.digests import digest_arrays
from rhoflow.materials.shards import ShardReport
from rhoflow.models.networks import NETWORKS, FusionOptions, ImageOptions, Network, save_state
from rhoflow.report.figures import read_index
from rhoflow.report.saliency import explain, grad_cam, last_maps, saliency_figure, write_saliency
from rhoflow.training.evaluate import RunKey, write_run
from rhoflow.training.scaler import Scaler

FLOAT32 = 1e-5  # relative
PIXELS = 64
N = 6
STUDY = {
    "targets": ["k_vrh"],
    "models": ["image"],
    "slices": {"pixels": PIXELS},
    "image": {"backbone": "timm:test_efficientnet", "weights": "random"},
    "readout": {"widths": [24, 16, 8]},
}


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY)


@pytest.fixture(scope="module")
def network(tiny_options: FusionOptions) -> Network:
    torch.manual_seed(0)
    options = ImageOptions(image=tiny_options.image, readout=tiny_options.readout)
    made: Network = NETWORKS["image"].make(options, {})
    return made.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (N, PIXELS, PIXELS)).astype(np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, network: Network, images: np.ndarray) -> Path:
    """A finished run of the image network, and the images that it saw."""
    folder = tmp_path_factory.mktemp("saliency")
    ids = [f"m{k}" for k in range(N)]
    report, ones = ShardReport("slices"), np.ones(N)
    for name, image in zip(ids, images, strict=True):
        arrays = [image, *[np.asarray(1.0)] * 5]
        report.accept(name, digest_arrays(*arrays), amplitude=1.0, lattice_constant=1.0, side=1.0)
    (folder / "slices").mkdir()
    store = folder / "slices/0000.npz"
    names = ("amplitude", "mean", "std", "lattice_constant", "side")
    np.savez(store, ids=np.array(ids), image=images, **dict.fromkeys(names, ones))
    report.write(store)
    (folder / "dataset").mkdir()
    kept = {"material_id": ids, "shard": "0000", "formula": "NaCl", "prototype": "AB_225_a_b"}
    pd.DataFrame(kept).to_csv(folder / "dataset/kept.csv", index=False)
    key = RunKey("image", "k_vrh", "none", 0, 0)
    part = np.array(["train", "val", "val", "test", "test", "test"])
    y_true = np.arange(N, dtype=float)
    errors = np.array([0.0, 0.0, 0.0, -9.0, 2.0, 1.0])
    write_run(
        key.folder(folder),
        key=key,
        unit="GPa",
        ids=np.array(ids),
        part=part,
        y_true=y_true,
        y_pred=y_true + errors,
        scaler=Scaler(0.0, 1.0),
        training=None,
    )
    save_state(network, key.folder(folder))
    return folder


def by_hand(network: Network, image: np.ndarray) -> np.ndarray:
    """Sum of the feature maps, each times the mean gradient of the prediction on it."""
    kept: list[Tensor] = []
    batch = {"images": torch.from_numpy(image)[None]}
    layer = last_maps(network, batch)
    assert layer is not None
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    z = network(batch)
    hook.remove()
    (gradient,) = torch.autograd.grad(z.sum(), kept[0])
    return (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)[0].detach().numpy()


def test_grad_cam_is_maps_times_mean_gradients(network: Network, images: np.ndarray) -> None:
    found = grad_cam(network, {"images": torch.from_numpy(images[:1])})
    assert found is not None
    whole, cells = found
    maps = by_hand(network, images[0])
    assert maps.shape == cells
    assert min(cells) > 1
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(maps)[None, None], (PIXELS, PIXELS), mode="bilinear")
    np.testing.assert_allclose(whole, enlarged[0, 0].numpy(), rtol=FLOAT32, atol=FLOAT32 * np.abs(maps).max())


def test_sign_is_kept(network: Network, images: np.ndarray) -> None:
    maps = np.concatenate([by_hand(network, image).ravel() for image in images])
    assert (maps > 0).any()
    assert (maps < 0).any()


def test_crystal_is_the_one_with_the_median_error(
    root: Path, study: Study, network: Network, images: np.ndarray
) -> None:
    explained = explain(root, study)
    assert explained is not None
    assert explained.material_id == "m4"  # errors 9, 2 and 1
    assert (explained.y_true, explained.y_pred) == (4.0, 6.0)
    found = grad_cam(network, {"images": torch.from_numpy(images[4:5])})
    assert found is not None
    assert explained.attribution is not None
    np.testing.assert_allclose(explained.attribution, found[0], rtol=FLOAT32, atol=1e-7)


def test_figure_has_image_and_attribution(root: Path, study: Study) -> None:
    explained = explain(root, study)
    assert explained is not None
    left, right, *_ = saliency_figure(explained, "NaCl").axes
    np.testing.assert_array_equal(left.images[0].get_array(), explained.image)
    np.testing.assert_array_equal(right.images[1].get_array(), explained.attribution)
    low, high = right.images[1].get_clim()
    assert low == -high


def test_files_are_the_same_bytes_every_time(root: Path, study: Study, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_saliency(root, tmp_path / name, study=study)
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == ["saliency.json", "saliency.png", "saliency.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (entry,) = read_index(tmp_path / "one")
    assert (entry.kind, entry.target) == ("saliency", None)
    assert "Predicted 6.00, DFT 4.00 GPa" in entry.caption


def test_without_a_run_the_figure_says_so(tmp_path: Path, study: Study) -> None:
    assert explain(tmp_path, study) is None
    write_saliency(tmp_path, tmp_path / "figures", study=study)
    assert "no run yet" in json.loads((tmp_path / "figures/saliency.json").read_text())[0]["caption"]


def test_network_without_maps_has_no_grad_cam() -> None:
    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = torch.nn.Flatten()

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.backbone(batch["images"]).mean(dim=1)

    assert grad_cam(Flat(), {"images": torch.zeros(1, 8, 8)}) is None  # type: ignore[arg-type]
