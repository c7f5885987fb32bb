"""The slice stage: images of all crystals of a shard, for the networks (.npz) and for people (.png.zip)."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from rhoflow.config import SliceOptions
from rhoflow.density.fields import select_field
from rhoflow.density.fourier import fourier_image
from rhoflow.density.scaling import scale_image
from rhoflow.density.slices import slice_image, slice_image_as_published
from rhoflow.errors import RejectedMaterialError
from rhoflow.materials.archive import Record, read_archive, read_ids
from rhoflow.materials.digests import atomic, digest_arrays
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track

_COLOURS = "viridis"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that equal images give equal bytes

Arrays = dict[str, NDArray[Any]]


def slice_shard(
    archive: Path,
    store: Path,
    *,
    field: str,
    options: SliceOptions,
    shape: tuple[int, int, int],
    smoothing: float = 0.0,
) -> ShardReport:
    """Make the image of every crystal of a shard.

    Parameters
    ----------
    archive : Path
        ``raw/<shard>.h5``.
    store : Path
        ``slices/<shard>.npz`` to write: arrays ``ids`` (n,) str, ``image`` (n, p, p) float32 in [-1, 1] (rows along
        -y, columns along +x; (n, 3, p, p) with ``options.planes`` 3, from below to above the site), ``amplitude``,
        ``mean``, ``std`` (n,) float64 [e/A^3], ``lattice_constant``, ``side`` (n,) float64 [A], ``periods`` (n, 2, 2)
        float64 [A], rows (x, y), 0 where the image does not repeat; and with ``options.fourier`` also ``fourier``,
        float32 in [0, 1] of the shape of ``image``. With ``options.content`` fourier, ``image`` is 2 ``fourier`` - 1.
        With ``options.png`` also ``slices/<shard>.png.zip`` with one ``<id>.png`` each.
    field : str
        Which density, e.g. ``total`` or ``deformation``.
    options : SliceOptions
        Plane, window, pixels and scaling.
    shape : tuple of 3 int
        Points of the unified grid, which ``options.as_published`` cuts.
    smoothing : float
        Width of the Gaussian filter that the densities went through [A]; see `fields.select_field`.

    Returns
    -------
    ShardReport
        Also written beside `store`. Digests are those of the arrays, stats hold amplitude, lattice_constant, side
        and periods.
    """
    report = ShardReport("slices")
    made: dict[str, Arrays] = {}

    def make(material_id: str, record: Record) -> None:
        rho = select_field(record, field, smoothing)
        arrays = _slice_record(record, rho, options, shape)
        made[material_id] = arrays
        stats: dict[str, Any] = {name: float(arrays[name]) for name in ("amplitude", "lattice_constant", "side")}
        stats["periods"] = arrays["periods"].tolist()
        report.accept(material_id, digest_arrays(*arrays.values()), **stats)

    records = track(
        read_archive(archive),
        total=len(read_ids(archive)),
        what=f"slices {archive.stem}",
        rejected=lambda: len(report.rejected),
    )
    report.each(((record.material_id, record) for record in records), make)
    _write_npz(store, made, options)
    if options.png:
        _write_pngs(store.with_suffix(".png.zip"), made)
    report.write(store)
    return report


def _slice_record(
    record: Record, rho: NDArray[np.float64], options: SliceOptions, shape: tuple[int, int, int]
) -> Arrays:
    """Arrays of one crystal with the density `rho` (na, nb, nc) [e/A^3], by their names in the store."""
    cut = partial(slice_image_as_published, shape=shape) if options.as_published else slice_image
    try:
        view = cut(
            rho,
            record.structure,
            hkl=options.plane,
            through=options.through,
            window=options.window,
            pixels=options.pixels,
            planes=options.planes,
        )
    except RejectedMaterialError as error:
        raise RejectedMaterialError(error.reason, f"{record.material_id}: {error.detail}") from error
    scaled = scale_image(view.image, transform=options.transform, clip=options.clip)
    arrays: Arrays = {"image": scaled.image}
    if options.fourier or options.content == "fourier":
        arrays["fourier"] = fourier_image(scaled.image)
    if options.content == "fourier":
        arrays["image"] = 2 * (arrays["fourier"] if options.fourier else arrays.pop("fourier")) - 1
    numbers = {
        "amplitude": scaled.amplitude,
        "mean": scaled.mean,
        "std": scaled.std,
        "lattice_constant": view.lattice_constant,
        "side": view.side,
    }
    arrays |= {name: np.array(value, dtype=np.float64) for name, value in numbers.items()}
    return arrays | {"periods": np.zeros((2, 2)) if options.content == "fourier" else view.periods}


def _write_npz(store: Path, made: dict[str, Arrays], options: SliceOptions) -> None:
    """Write the stacked arrays of a shard; an empty shard keeps the shapes."""
    pictures = ("image", "fourier") if options.fourier else ("image",)
    channels = () if options.planes == 1 else (options.planes,)
    stacked: Arrays = {"ids": np.array(list(made), dtype=np.str_)}
    for name in pictures:
        stack = np.empty((len(made), *channels, options.pixels, options.pixels), dtype=np.float32)
        for row, arrays in zip(stack, made.values(), strict=True):
            row[:] = arrays[name]
        stacked[name] = stack
    for name in ("amplitude", "mean", "std", "lattice_constant", "side"):
        stacked[name] = np.array([arrays[name] for arrays in made.values()], dtype=np.float64)
    stacked["periods"] = np.array([arrays["periods"] for arrays in made.values()]).reshape(-1, 2, 2)
    with atomic(store) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **stacked)


def _write_pngs(path: Path, made: dict[str, Arrays]) -> None:
    """Write one colour PNG a crystal, its own range spread over the colours."""
    with atomic(path) as part, zipfile.ZipFile(part, "w") as bundle:
        for material_id, arrays in made.items():
            bundle.writestr(zipfile.ZipInfo(f"{material_id}.png", _ZIP_DATE), png_bytes(arrays["image"]))


def png_bytes(image: NDArray[np.float32]) -> bytes:
    """Encode an image as an 8-bit RGB PNG, lowest value to highest over the viridis colours.

    Three planes (3, p, p) are red, green and blue, on one scale.
    """
    low, high = float(image.min()), float(image.max())
    level = (image - low) / (high - low) if high > low else np.zeros_like(image)
    if image.ndim == 3:
        colours = np.round(255 * np.moveaxis(level, 0, -1)).astype(np.uint8)
    else:
        colours = colormaps[_COLOURS](level, bytes=True)[..., :3]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(buffer, format="PNG")
    return buffer.getvalue()


def site_plane(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (n, p, p) of the plane through the site, of images with one plane or three."""
    return images[:, 1] if images.ndim == 4 else images
