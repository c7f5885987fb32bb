"""The Fourier image: what a diffraction pattern of the slice would look like."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray


def fourier_image(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude of the two-dimensional Fourier transform of an image, on a logarithmic scale in [0, 1].

        M = log(1 + abs(FFT2(image))),        result = M / max(M),

    the zero frequency at pixel (p // 2, p // 2). FFT2 is the plain sum over the p x p pixels, so spots far weaker
    than the strongest stay visible. Three planes are transformed one by one and share the maximum. An image of zeros
    gives zeros.
    (Massa et al. 2024 v3, Table 3 and Fig. 9 use Fourier-transformed images without giving a formula.)

    Parameters
    ----------
    image : (p, p) or (3, p, p) float32 array
        A scaled image (`scaling.scale_image`).

    Returns
    -------
    (p, p) or (3, p, p) float32 array
        Values in [0, 1]; frequency grows with the row and column from the centre.
    """
    waves = np.abs(scipy.fft.fft2(image.astype(np.float64)))
    magnitude = np.log1p(scipy.fft.fftshift(waves, axes=(-2, -1)))
    largest = float(magnitude.max())
    return np.asarray(magnitude / largest if largest > 0 else magnitude, dtype=np.float32)
