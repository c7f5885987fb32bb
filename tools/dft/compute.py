"""One crystal from its line in the list to everything that is published of it."""

from ase import Atoms
from gpaw.setup import create_setup

from .bands import ABOVE_BAND, density_of_states, eigenvalues
from .crystals import Crystal, initial_moments
from .dos import band_gap
from .eos import Fit, scan
from .export import Result
from .fcc import density_grid_size, monkhorst_size, primitive_volume
from .reciprocal import Sphere
from .scf import TIGHT, VolumeSeries, crystal_atoms, self_consistent
from .series import SeriesCache
from .settings import Settings
from .valence_density import promolecule, valence_density


def compute_crystal(
    crystal: Crystal, settings: Settings, cache: SeriesCache, *, with_promolecule: bool = False
) -> Result:
    """Relax the volume, then compute the ground state, its bands and its density."""
    a, fit = _relax(crystal, settings, cache)
    atoms, energy = _ground_state(crystal, a, settings)
    calc = atoms.calc
    moment = float(calc.get_magnetic_moment()) if crystal.spin_polarised else 0.0
    bands, efermi = eigenvalues(calc), float(calc.get_fermi_level())
    gap = band_gap(bands, sum(setup.Nv for setup in calc.dft.setups), moment)
    zero, zero_name = (gap[0] + ABOVE_BAND, "VBM") if gap else (efermi, "Fermi level")
    sphere = Sphere(a, density_grid_size(a, settings.grid_spacing))
    density = valence_density(calc, sphere, sigma=settings.filter_sigma)
    return Result(
        crystal=crystal,
        lattice_constant=a,
        fit=fit,
        energy=energy,
        efermi=efermi,
        band_gap=gap[1] - gap[0] if gap else 0.0,
        moment=moment,
        total=density.total,
        spin=density.spin,
        promolecule=promolecule(calc, sphere, sigma=settings.filter_sigma) if with_promolecule else None,
        dos=density_of_states(calc, bands, zero=zero, zero_name=zero_name),
    )


def _relax(crystal: Crystal, settings: Settings, cache: SeriesCache) -> tuple[float, Fit]:
    """Cubic edge [A] of lowest energy, and the fit."""
    guess = crystal.lattice_constant

    def make(scale: float) -> Atoms:
        return crystal_atoms(crystal, guess * scale)

    k_size = monkhorst_size(make(1.0).cell.lengths(), settings.k_lengths(len(crystal.symbols))[0])
    series = VolumeSeries(make, k_size, initial_moments(crystal), settings)
    fit, _ = scan(cache.remembering(series), settings.scales, cache.points())
    return guess * (fit.volume / primitive_volume(guess)) ** (1 / 3), fit


def _ground_state(crystal: Crystal, a: float, settings: Settings) -> tuple[Atoms, float]:
    """Converge the final calculation, with enough converged empty bands for the density of states."""
    atoms = crystal_atoms(crystal, a)
    k_size = monkhorst_size(atoms.cell.lengths(), settings.k_lengths(len(atoms))[1])
    n_bands, n_converged = band_numbers(valence_electrons(atoms, settings), len(atoms))
    convergence = TIGHT | {"density": 5e-5, "bands": n_converged}
    return self_consistent(atoms, k_size, initial_moments(crystal), settings, nbands=n_bands, convergence=convergence)


def valence_electrons(atoms: Atoms, settings: Settings) -> int:
    """Electrons outside the frozen cores of the PAW sets."""
    return sum(int(create_setup(symbol, xc=settings.functional).Nv) for symbol in atoms.symbols)


def band_numbers(n_electrons: int, n_atoms: int) -> tuple[int, int]:
    """Bands to compute, and how many of them to converge."""
    n_bands = n_electrons // 2 + int(0.15 * n_electrons) + 4 + 2 * n_atoms
    return n_bands, max(n_electrons // 2 + n_electrons % 2 + 2, n_bands - 3)
