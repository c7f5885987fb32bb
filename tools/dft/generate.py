"""Command line: compute the crystals of a list with GPAW and extend a folder of results.

Finished crystals are passed by, so that a run can be killed and started again at any time. Several
processes may share one folder; give the second one --reverse.
"""

import argparse
import difflib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .crystals import CRYSTALS, Crystal, read_crystals
from .settings import Settings
from .workspace import Row, Workspace

TIME_LIMIT_S = 3 * 3600  # of one crystal or element


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    p = argparse.ArgumentParser(prog="python -m tools.dft.generate", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("dft-data"), help="folder of results (default: %(default)s)")
    p.add_argument("--crystals", type=Path, default=CRYSTALS, help="list of crystals (default: the one beside)")
    p.add_argument("--only", metavar="ID,ID", help="only these crystals")
    p.add_argument("--list", action="store_true", help="print the list and stop")
    p.add_argument("--reverse", action="store_true", help="walk the list from its end")
    p.add_argument("--retry", action="store_true", help="try again what failed before")
    p.add_argument("--promolecule", action="store_true", help="also write the superposed free atoms")
    refs = p.add_mutually_exclusive_group()
    refs.add_argument("--no-refs", action="store_true", help="leave formation energies empty")
    refs.add_argument("--refs-only", action="store_true", help="only elements of finished crystals")
    p.add_argument("--max-minutes", type=float, default=float("inf"), help="begin nothing after that time")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 if anything failed."""
    args = parser().parse_args(arguments)
    try:
        everything = read_crystals(args.crystals)
        chosen = select(everything, args.only)
        if args.list:
            print("\n".join(line_of(crystal) for crystal in chosen))
            return 0
        generator = Generator(Workspace(args.out, Settings()), everything, args)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    # one core a process; must be set before numpy is loaded
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    generator.run(chosen[::-1] if args.reverse else chosen)
    return 1 if generator.n_failed else 0


def select(crystals: list[Crystal], only: str | None) -> list[Crystal]:
    """Pick the crystals with the given comma-separated ids, in the order of the list; all for None.

    Raises
    ------
    ValueError
        If an id is not in the list.
    """
    if only is None:
        return crystals
    wanted, known = only.split(","), [crystal.id for crystal in crystals]
    for name in wanted:
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, known)) or "see --list"
            raise ValueError(f"--only {name}: not in the list of crystals; near: {near}")
    return [crystal for crystal in crystals if crystal.id in wanted]


def line_of(crystal: Crystal) -> str:
    """One line for --list."""
    flags = ["spin"] * crystal.spin_polarised + ["hypothetical"] * crystal.hypothetical
    return f"{crystal.id:28s} {crystal.lattice_constant:6.2f} A  {' '.join(flags)}".rstrip()


class Generator:
    """Walks the list and keeps the workspace up to date.

    Parameters
    ----------
    workspace
        Where results go.
    crystals
        The whole list: elemental references that are crystals of the list are computed as such.
    options
        Parsed command line.
    """

    def __init__(self, workspace: Workspace, crystals: list[Crystal], options: argparse.Namespace) -> None:
        self.workspace = workspace
        self.by_id = {crystal.id: crystal for crystal in crystals}
        self.options = options
        self.n_failed = 0
        self._deadline = time.monotonic() + 60 * options.max_minutes

    def run(self, chosen: list[Crystal]) -> None:
        """Compute crystals, each with the elements it refers to."""
        for i, crystal in enumerate(chosen, start=1):
            if time.monotonic() > self._deadline:
                log("time is up")
                break
            if not self.options.refs_only:
                self._crystal(crystal, f"[{i}/{len(chosen)}]")
            if not self.options.no_refs and self.workspace.is_done(crystal.id):
                for element in crystal.elements:
                    self._element(element)
                self._fill_formation_energies()
        log("finished")

    def _crystal(self, crystal: Crystal, label: str) -> None:
        from .compute import compute_crystal
        from .export import property_row, write_files

        def work() -> str:
            cache = self.workspace.series(crystal.id)
            result = compute_crystal(crystal, Settings(), cache, with_promolecule=self.options.promolecule)
            row = property_row(result)
            self.workspace.publish(row, lambda folder: write_files(result, folder))
            return summary(row)

        self._once(crystal.id, lambda: self.workspace.is_done(crystal.id), work, label)

    def _element(self, element: str) -> None:
        from .reference_energy import reference_energy
        from .references import read_references

        reference = read_references()[element]
        twin = self.by_id.get(f"{element}_{reference.structure}")
        if twin:  # the same crystal is in the list
            self._crystal(twin, f"{element}:")
            if self.workspace.is_done(twin.id):
                row = self.workspace.table()[twin.id]
                self.workspace.save_element_energy(element, float(row["energy_per_atom_eV"]))
            return

        def work() -> str:
            energy = reference_energy(reference, Settings(), self.workspace.series(f"element_{element}"))
            self.workspace.save_element_energy(element, energy)
            return f"{reference.structure} {energy:.4f} eV/atom"

        self._once(f"element_{element}", lambda: element in self.workspace.element_energies(), work, "element")

    def _once(self, key: str, is_done: Callable[[], bool], work: Callable[[], str], label: str) -> None:
        """Do a piece of work unless it is done, has failed, or another process does it."""
        with self.workspace.lock(key) as held:
            if not held or is_done():
                return
            if self.options.retry:
                self.workspace.forget_failure(key)
            if self.workspace.failure(key):
                log(f"{label} {key} failed before; see .state/failed, try again with --retry")
                return
            start = time.monotonic()
            try:
                with time_limit(TIME_LIMIT_S):
                    outcome = work()
            except Exception as error:  # one bad crystal must not end a run of days
                self.n_failed += 1
                self.workspace.record_failure(key, traceback.format_exc())
                outcome = f"FAILED {error!r}"
            log(f"{label} {key} {outcome} {time.monotonic() - start:.0f} s")

    def _fill_formation_energies(self) -> None:
        known = self.workspace.element_energies()
        self.workspace.update_table(
            lambda rows: {name: complete_row(row, self.by_id.get(name), known) for name, row in rows.items()}
        )


def complete_row(row: Row, crystal: Crystal | None, element_energies: dict[str, float]) -> Row:
    """Fill in the formation energy if it is missing and all elements are known.

    Parameters
    ----------
    row
        Row of ``properties.csv``.
    crystal
        The crystal of that row; None if the list does not hold it, and the row stays as it is.
    element_energies
        Reference energies per atom [eV].
    """
    if crystal is None or row["formation_energy_per_atom_eV"]:
        return row
    if any(symbol not in element_energies for symbol in crystal.symbols):
        return row
    reference = sum(element_energies[symbol] for symbol in crystal.symbols) / len(crystal.symbols)
    energy = float(f"{float(row['energy_per_atom_eV']) - reference:.6g}")
    return row | {"formation_energy_per_atom_eV": str(energy)}


def summary(row: Row) -> str:
    """Write the main results of a row on one line."""
    names = {"a": "lattice_constant_A", "K": "k_vrh_GPa", "gap": "band_gap_eV", "M": "total_magnetization_muB"}
    return " ".join(f"{name}={float(row[column]):.4g}" for name, column in names.items())


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body after that time."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def log(text: str) -> None:
    """Print a line with the time."""
    print(time.strftime("%F %T"), text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
