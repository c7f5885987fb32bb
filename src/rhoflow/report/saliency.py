"""Where an image network looks: Grad-CAM of one test crystal, a figure of its own because it needs torch.

Grad-CAM weighs the last feature maps A_k of a network by the mean of the prediction's gradient on each and adds them:
sum_k <dz/dA_k> A_k. Selvaraju et al., IEEE ICCV 2017, 618. A prediction goes both ways, so the sign is kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from rhoflow.config import Study
from rhoflow.dataset.names import NO_TEXT
from rhoflow.dataset.stores import read_images, read_side
from rhoflow.materials.digests import write_json
from rhoflow.models.networks import NETWORKS, Network, load_state
from rhoflow.models.weights import RANDOM
from rhoflow.report import labels
from rhoflow.report.crystals import kept_shards, read_crystals, read_pictures
from rhoflow.report.entries import Entry
from rhoflow.report.names import SALIENCY, SALIENCY_INDEX
from rhoflow.report.provenance import code_version, lineage
from rhoflow.report.runs import read_run
from rhoflow.report.style import WIDTH, empty, house_style, panel_title, save
from rhoflow.training.engine import reproducible
from rhoflow.training.evaluate import RunKey
from rhoflow.training.names import METRICS

# isort: split
from captum.attr import LayerAttribution, LayerGradCam


@dataclass(frozen=True)
class Explained:
    """What a network makes of one crystal's image.

    Attributes
    ----------
    material_id : str
    target : str
    y_true, y_pred : float
        In the target's unit.
    image : (p, p) float32 array
        As the network sees it, of three planes the middle one.
    side : float
        Of the square [A].
    attribution : (p, p) float64 array or None
        Grad-CAM: what raises (> 0) and what lowers the prediction [standardised target]; None where the network has
        no feature maps.
    cells : tuple of 2 int
        Size of the feature maps, below which nothing is told apart.
    """

    material_id: str
    target: str
    y_true: float
    y_pred: float
    image: NDArray[np.float32]
    side: float
    attribution: NDArray[np.float64] | None
    cells: tuple[int, int]


def write_saliency(root: Path, out: Path, *, study: Study) -> None:
    """Write ``saliency.png``, ``.svg`` and ``.json`` (its entry) into `out`."""
    explained = explain(root, study)
    crystals = read_crystals(root)
    formulas = dict(zip(crystals["material_id"], crystals["formula"], strict=True))
    name = labels.formula_label(formulas[explained.material_id]) if explained else "no crystal"
    lineage_id = lineage(root, study, code_version()).id
    with house_style():
        save(saliency_figure(explained, name), out, SALIENCY, lineage_id=lineage_id)
    write_json(out / SALIENCY_INDEX, [asdict(saliency_entry(study, explained, name))])


def explain(root: Path, study: Study) -> Explained | None:
    """Grad-CAM of the image network of the first target, fold and seed, on the test crystal with the median error.

    None if that run has not finished, or has no test crystal.
    """
    folder = RunKey("image", study.targets[0], NO_TEXT, 0, study.seeds[0]).folder(root)
    if not (folder / METRICS).exists():
        return None
    run = read_run(folder)
    ids, y_true, y_pred = run.part("test")
    if len(ids) == 0:
        return None
    order = np.argsort(np.abs(y_pred - y_true), kind="stable")
    k = int(order[(len(ids) - 1) // 2])
    material_id = str(ids[k])
    shards = {shard: [material_id] for shard, kept in kept_shards(root).items() if material_id in kept}
    with reproducible(study.training.threads):
        network = _network(study, folder)
        images, side = read_images(root, shards), read_side(root, shards)
        batch = network.prepare(images, None, side)[[0]]
        found = grad_cam(network, batch)
    picture = read_pictures(root, [material_id])[material_id]
    attribution, cells = found if found else (None, (0, 0))
    return Explained(
        material_id,
        study.targets[0],
        float(y_true[k]),
        float(y_pred[k]),
        picture.image,
        picture.side,
        attribution,
        cells,
    )


def _network(study: Study, folder: Path) -> Network:
    """Build the image network with the weights of a run; pretrained ones are not looked for."""
    entry = NETWORKS["image"]
    options = entry.take_options(study)
    image = options.image.model_copy(update={"weights": RANDOM})  # type: ignore[attr-defined]
    network: Network = entry.make(options.model_copy(update={"image": image}), {})
    load_state(network, folder)
    return network.eval()


def grad_cam(network: Network, batch: dict[str, Tensor]) -> tuple[NDArray[np.float64], tuple[int, int]] | None:
    """Grad-CAM of a batch of one on the last feature maps, as large as the image; None if there are no maps.

    Returns
    -------
    (p, p) float64 array
        sum_k <dz/dA_k> A_k, bilinearly enlarged.
    tuple of 2 int
        Size of the maps.
    """
    layer = last_maps(network, batch)
    if layer is None:
        return None
    images = batch["images"].clone().requires_grad_(True)
    rest = {name: values for name, values in batch.items() if name != "images"}

    def forward(pixels: Tensor) -> Tensor:
        z: Tensor = network({**rest, "images": pixels})
        return z

    maps = LayerGradCam(forward, layer).attribute(images)
    size = tuple(images.shape[-2:])
    whole = LayerAttribution.interpolate(maps, size, interpolate_mode="bilinear")
    return whole[0, 0].detach().numpy().astype(np.float64), (int(maps.shape[-2]), int(maps.shape[-1]))


def last_maps(network: Network, batch: dict[str, Tensor]) -> nn.Module | None:
    """Find the module that makes the last feature maps (1, k, h, w) with more than one place; None without any."""
    found: list[nn.Module] = []

    def keep(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            found.append(module)

    hooks = [module.register_forward_hook(keep) for module in network.backbone.modules()]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    return found[-1] if found else None


def saliency_figure(explained: Explained | None, name: str) -> Figure:
    """Draw the image of a crystal, and on it what raises and what lowers the network's prediction."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    if explained is None or explained.attribution is None:
        why = "no finished run of the image network with a test crystal"
        empty(figure.subplots(), why if explained is None else "this backbone has no feature maps")
        return figure
    left, right = figure.subplots(1, 2)
    half = explained.side / 2
    extent = (-half, half, -half, half)
    top = float(np.abs(explained.attribution).max()) or 1.0
    left.imshow(explained.image, cmap="gray", extent=extent, interpolation="nearest")
    right.imshow(explained.image, cmap="gray", extent=extent, interpolation="nearest")
    shown = right.imshow(explained.attribution, cmap="RdBu_r", vmin=-top, vmax=top, extent=extent, alpha=0.6)
    for axes, title in ((left, name), (right, "Grad-CAM")):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"{explained.side:.1f} Å", fontsize=7, labelpad=2)
        panel_title(axes, title)
    bar = figure.colorbar(shown, ax=right, shrink=0.85, pad=0.02, label="lowers and raises the prediction")
    bar.outline.set_visible(False)
    return figure


def saliency_entry(study: Study, explained: Explained | None, name: str) -> Entry:
    """Entry of the figure."""
    target = labels.target_label(study.targets[0])
    alt = f"Grad-CAM of the image network on {name}."
    if explained is None:
        return Entry(SALIENCY, SALIENCY, None, f"Grad-CAM of the image network ({target}): no run yet.", alt)
    unit = labels.unit_label(explained.target)
    decimals = labels.decimals_for(explained.y_true)
    true, predicted = (labels.number(value, decimals) for value in (explained.y_true, explained.y_pred))
    numbers = f"Predicted {predicted}, DFT {true}{f' {unit}' if unit else ''}"
    caption = (
        f"Where the image network for the {target} (fold 0, seed {study.seeds[0]}) looks on the image of {name}:"
        f" Grad-CAM on its last feature maps, {explained.cells[0]} × {explained.cells[1]} places, enlarged; red"
        f" raises the prediction, blue lowers it. {numbers}. n = 1:"
        " the test crystal with the median error of this run. It shows what this network reacts to, not what is so."
    )
    return Entry(SALIENCY, SALIENCY, None, caption, alt)
