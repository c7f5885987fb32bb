"""Scaling of an image into [-1, 1], the form in which networks see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Transform = Literal["none", "arcsinh"]

# An image whose standard deviation is below this share of its largest value is constant up to rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Scaled:
    """A scaled image and what was taken out of it: where not clipped, ``transform(rho) = mean + amplitude * image``.

    Attributes
    ----------
    image : (p, p) or (3, p, p) float32 array
        Values in [-1, 1]; 0 is the mean of the (transformed) image.
    mean, std : float
        Mean and population standard deviation of the transformed image [e/A^3; arcsinh of e/A^3 after arcsinh].
    amplitude : float
        What the deviation from the mean was divided by, same unit; 0 for a constant image.
    """

    image: NDArray[np.float32]
    mean: float
    std: float
    amplitude: float


def scale_image(image: NDArray[np.float64], *, transform: Transform = "none", clip: float | None = None) -> Scaled:
    """Scale an image by z-score, then by division into [-1, 1] that keeps zero at zero.

    With y = rho, or y = arcsinh(rho / (1 e/A^3)) for ``arcsinh`` (linear for small densities of either sign,
    logarithmic for large ones),

        z = (y - mean(y)) / std(y),        b = max abs(z),        scaled = z / b,

    and amplitude = b std(y). With `clip`, b is that percentile of abs(z) instead, and z is first cut to [-b, b].
    Without either option these are the steps of Massa et al. 2024. A constant image scales to zeros, amplitude 0.

    Parameters
    ----------
    image : (p, p) or (3, p, p) float64 array
        Density [e/A^3] on one plane or three, which are scaled as one so that they stay comparable.
    transform : "none" or "arcsinh"
        Applied before the z-score.
    clip : float, optional
        Percentile of abs(z), above 50 and at most 100, at which the image is cut.
    """
    y = np.arcsinh(image) if transform == "arcsinh" else image
    mean, std = float(y.mean()), float(y.std())
    if std <= _CONSTANT * float(np.abs(y).max()):
        return Scaled(np.zeros(image.shape, dtype=np.float32), mean, 0.0, 0.0)
    z = (y - mean) / std
    bound = float(np.abs(z).max() if clip is None else np.percentile(np.abs(z), clip))
    scaled = np.clip(z / bound, -1, 1).astype(np.float32)
    return Scaled(scaled, mean, std, bound * std)
