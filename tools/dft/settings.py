"""The numerical settings of one data set."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """Settings shared by every crystal; the defaults made ``resources/demo``.

    Attributes
    ----------
    functional
        Exchange-correlation functional.
    cutoff
        Plane-wave cutoff [eV].
    smearing
        Fermi-Dirac width [eV]; energies are extrapolated to T = 0.
    k_length_series, k_length_final
        Number of k-points along an axis times the cell edge [A], at least: volume series, final run.
    k_length_series_element, k_length_final_element
        The same for crystals of one atom, mostly metals.
    k_length_reference, k_length_reference_fixed
        The same for elemental references: with volume series, at fixed geometry.
    scales
        Cell edges of the volume series, relative to the guess.
    grid_spacing
        Largest spacing of the density grid along a cell edge [A].
    filter_sigma
        Width of the Gaussian low-pass of the density [A].
    max_iterations
        Limit of one self-consistency cycle.
    """

    functional: str = "PBE"
    cutoff: float = 550.0
    smearing: float = 0.1
    k_length_series: float = 22.0
    k_length_final: float = 28.0
    k_length_series_element: float = 30.0
    k_length_final_element: float = 34.0
    k_length_reference: float = 30.0
    k_length_reference_fixed: float = 24.0
    scales: tuple[float, ...] = (0.96, 0.98, 1.0, 1.02, 1.04)
    grid_spacing: float = 0.085
    filter_sigma: float = 0.08
    max_iterations: int = 200

    def fingerprint(self) -> str:
        """Text that is equal exactly when the settings are."""
        return json.dumps(asdict(self), sort_keys=True)

    def k_lengths(self, n_atoms: int) -> tuple[float, float]:
        """k-point lengths [A] of the volume series and of the final run of a crystal."""
        if n_atoms == 1:
            return self.k_length_series_element, self.k_length_final_element
        return self.k_length_series, self.k_length_final
