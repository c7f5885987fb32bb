"""Write small vasprun.xml and OUTCAR files as VASP 6 does, for the tests of their readers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

VECTORS = np.array([[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.1]])


@dataclass
class VaspRun:
    """A static calculation of NaCl, or whatever its fields say.

    Attributes
    ----------
    energies : (n_spins, n_kpoints, n_bands) array
        Band energies [eV].
    occupations : array of the same shape
        From 0 to 1.
    """

    species: tuple[tuple[str, int, float, float, str], ...] = (
        ("Na", 1, 22.99, 7.0, "PAW_PBE Na_pv 19Sep2006"),
        ("Cl", 1, 35.453, 7.0, "PAW_PBE Cl 06Sep2000"),
    )
    vectors: np.ndarray = field(default_factory=lambda: VECTORS)
    energies: np.ndarray = field(default_factory=lambda: np.array([[[-12.0, -1.0, 4.0], [-11.5, -1.5, 5.0]]]))
    occupations: np.ndarray = field(default_factory=lambda: np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]]))
    weights: tuple[float, ...] = (0.25, 0.75)
    e_0: float = -6.80123456  # extrapolated to zero smearing [eV/cell]
    entropy: float = -0.0025
    efermi: float = 0.7531
    moment: tuple[float, ...] = ()
    n_steps: int = 9
    nelm: int = 60
    non_collinear: bool = False
    dos_energies: np.ndarray = field(default_factory=lambda: np.linspace(-15.0, 10.0, 26))

    @property
    def volume(self) -> float:
        return abs(np.linalg.det(self.vectors))

    @property
    def n_sites(self) -> int:
        return sum(count for _, count, *_ in self.species)

    @property
    def dos(self) -> np.ndarray:
        """States/eV/cell, (n_spins, m)."""
        spins = [np.exp(-((self.dos_energies - 2 * k) ** 2)) * (k + 1) for k in range(len(self.energies))]
        return np.round(np.array(spins), 4)


def vasprun_text(run: VaspRun, *, projections: bool = True, vasp5: bool = False) -> bytes:
    """Bytes of a vasprun.xml; as VASP 5 writes it, the last energies of a step stand in the wrong places."""
    free, no_entropy = run.e_0 + run.entropy / 2, run.e_0 - run.entropy / 2
    last = {"e_fr_energy": free, "e_wo_entrp": no_entropy, "e_0_energy": run.e_0}
    final = {"e_fr_energy": free, "e_wo_entrp": run.e_0, "e_0_energy": run.entropy} if vasp5 else last
    steps = [{key: value + 2.0 ** (run.n_steps - k) for key, value in last.items()} for k in range(1, run.n_steps)]
    flag = "T" if run.non_collinear else "F"
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.4.2  </i>
  <i name="subversion" type="string">20Jul23 (build Oct 05 2023 11:05:35) complex   parallel </i>
 </generator>
 <incar>
  <i type="string" name="SYSTEM">NaCl &amp; co</i>
  <i type="int" name="ISMEAR">     0</i>
 </incar>
 <kpoints>
  <generation param="Gamma"><v type="int" name="divisions">       2        2        2 </v></generation>
  <varray name="kpointlist" >
{rows(np.zeros((len(run.weights), 3)), 3)}
  </varray>
  <varray name="weights" >
{rows(np.array(run.weights)[:, None], 3)}
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
   <i name="NELECT">     14.00000000</i>
   <separator name="electronic spin" >
    <i type="int" name="ISPIN">     {len(run.energies)}</i>
    <i type="logical" name="LNONCOLLINEAR"> {flag}  </i>
   </separator>
   <separator name="electronic convergence" >
    <i type="int" name="NELM">    {run.nelm}</i>
   </separator>
  </separator>
  <separator name="ionic" >
   <i type="int" name="NSW">     0</i>
   <i type="int" name="IBRION">    -1</i>
  </separator>
  <separator name="response functions" >
   <i type="int" name="NELM">     1</i>
  </separator>
 </parameters>
 <atominfo>
  <atoms>       {run.n_sites} </atoms>
  <types>       {len(run.species)} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{atoms(run)}
   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
{atom_types(run)}
   </set>
  </array>
 </atominfo>
 <structure name="initialpos" >
{structure(run, 1.2)}
 </structure>
 <calculation>
{"".join(f"  <scstep>{chr(10)}{energies(step, 3)}  </scstep>{chr(10)}" for step in [*steps, last])}
  <structure>
{structure(run, 1.0)}
  </structure>
  <varray name="forces" >
{rows(np.zeros((run.n_sites, 3)), 3)}
  </varray>
{energies(final, 2)}
{eigenvalues(run.energies, run.occupations)}
  <separator name="orbital magnetization" ></separator>
{dos_text(run, projections)}
{projected(run) if projections else ""}
 </calculation>
 <structure name="finalpos" >
{structure(run, 1.0)}
 </structure>
</modeling>
""".encode("iso-8859-1")


def rows(values: np.ndarray, depth: int) -> str:
    return "\n".join(" " * depth + "<v> " + " ".join(f"{x:16.8f}" for x in row) + " </v>" for row in values)


def atoms(run: VaspRun) -> str:
    types = [(symbol, k) for k, (symbol, count, *_) in enumerate(run.species, 1) for _ in range(count)]
    return "\n".join(f"    <rc><c>{symbol:<2}</c><c>   {k}</c></rc>" for symbol, k in types)


def atom_types(run: VaspRun) -> str:
    cells = [
        (f"   {count}", f"{symbol:<2}", f"{mass:16.8f}", f"{valence:16.8f}", f"  {title:<38}")
        for symbol, count, mass, valence, title in run.species
    ]
    return "\n".join("    <rc>" + "".join(f"<c>{cell}</c>" for cell in row) + "</rc>" for row in cells)


def structure(run: VaspRun, scale: float) -> str:
    frac = np.arange(run.n_sites)[:, None] * np.full(3, 1 / max(run.n_sites, 1))
    return f"""   <crystal>
    <varray name="basis" >
{rows(run.vectors * scale, 5)}
    </varray>
    <i name="volume">{run.volume * scale**3:16.8f} </i>
    <varray name="rec_basis" >
{rows(np.linalg.inv(run.vectors * scale).T, 5)}
    </varray>
   </crystal>
   <varray name="positions" >
{rows(frac, 4)}
   </varray>"""


def energies(values: dict[str, float], depth: int) -> str:
    inside = "".join(f'{" " * (depth + 1)}<i name="{key}">{value:16.8f} </i>\n' for key, value in values.items())
    return f"{' ' * depth}<energy>\n{inside}{' ' * depth}</energy>\n"


def eigenvalues(bands: np.ndarray, occupations: np.ndarray) -> str:
    spins = ""
    for s, (of_spin, filled) in enumerate(zip(bands, occupations, strict=True), 1):
        spins += f'     <set comment="spin {s}">\n'
        for k, (of_k, of_k_filled) in enumerate(zip(of_spin, filled, strict=True), 1):
            lines = [f"       <r> {e:9.4f} {f:9.4f} </r>" for e, f in zip(of_k, of_k_filled, strict=True)]
            spins += f'      <set comment="kpoint {k}">\n' + "\n".join(lines) + "\n      </set>\n"
        spins += "     </set>\n"
    return f"""  <eigenvalues>
   <array>
    <dimension dim="1">band</dimension>
    <dimension dim="2">kpoint</dimension>
    <dimension dim="3">spin</dimension>
    <field>eigene</field>
    <field>occ</field>
    <set>
{spins}    </set>
   </array>
  </eigenvalues>"""


def dos_text(run: VaspRun, projections: bool) -> str:
    spins = ""
    for s, of_spin in enumerate(run.dos, 1):
        integrated = np.cumsum(of_spin)
        lines = [
            f"       <r> {e:10.4f} {d:10.4f} {i:10.4f} </r>"
            for e, d, i in zip(run.dos_energies, of_spin, integrated, strict=True)
        ]
        spins += f'      <set comment="spin {s}">\n' + "\n".join(lines) + "\n      </set>\n"
    ion = f'     <set comment="ion 1"><set comment="spin 1">{"<r> 1.0 9.9 </r>" * 3}</set></set>'
    partial = f"""   <partial>
    <array>
     <dimension dim="1">gridpoints</dimension><field>energy</field><field>s</field>
     <set>
{ion}
     </set>
    </array>
   </partial>
"""
    return f"""  <dos>
   <i name="efermi">{run.efermi:16.8f} </i>
   <total>
    <array>
     <dimension dim="1">gridpoints</dimension>
     <dimension dim="2">spin</dimension>
     <field>energy</field>
     <field>total</field>
     <field>integrated</field>
     <set>
{spins}     </set>
    </array>
   </total>
{partial if projections else ""}  </dos>"""


def projected(run: VaspRun) -> str:
    """Projections: they hold eigenvalues of their own, which are not those of the run."""
    return f"""  <projected>
{eigenvalues(run.energies + 99.0, run.occupations)}
  </projected>"""


def outcar_text(run: VaspRun, *, finished: bool = True, converged: bool = True) -> bytes:
    """Bytes of an OUTCAR: what VASP 6 writes of a static calculation, shortened."""
    text = " vasp.6.4.2 20Jul23 (build Oct 05 2023 11:05:35) complex\n\n INCAR:\n"
    for symbol, _, mass, valence, title in run.species:
        text += f"   VRHFIN ={symbol}: s2p5\n   LEXCH  = PE\n   TITEL  = {title}\n"
        text += f"   POMASS = {mass:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz\n"
    counts = "".join(f"{count:4d}" for _, count, *_ in run.species)
    n_spins, n_kpoints, n_bands = run.energies.shape
    text += f"   k-points           NKPTS = {n_kpoints:6d}   number of bands    NBANDS= {n_bands:6d}\n"
    text += "   total plane-waves  NPLWV =  13824\n   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG\n"
    text += f"   ions per type =            {counts}\n   ISPIN  = {n_spins:6d}    spin polarized calculation?\n"
    text += f"   LNONCOLLINEAR =      {'T' if run.non_collinear else 'F'} non collinear calculations\n"
    text += "   POMASS = " + "".join(f"{mass:6.2f}" for _, _, mass, *_ in run.species) + "\n"
    text += "   ZVAL   = " + "".join(f"{valence:6.2f}" for _, _, _, valence, _ in run.species) + "\n"
    text += lattice_text(run, 1.2)
    for k in range(1, run.n_steps + 1):
        text += (
            f"----------------------------------------- Iteration    1({k:4d})  ---------------------------------\n"
        )
        text += f" number of electron      14.0000000 magnetization {moment_text(run, 3.0)}\n"
        text += " augmentation part        1.0000000 magnetization \n"
        text += f"  energy without entropy = {run.e_0 + 5:17.8f}  energy(sigma->0) = {run.e_0 + 5:17.8f}\n"
    text += f" number of electron      14.0000000 magnetization {moment_text(run, 1.0)}\n"
    text += f" E-fermi : {run.efermi:8.4f}     XC(G=0):  -0.2124     alpha+bet : -0.0386\n\n"
    text += bands_text(run)
    if converged:
        text += "------------------------ aborting loop because EDIFF is reached ----------------------------------\n"
    text += lattice_text(run, 1.0)
    text += f"  free  energy   TOTEN  = {run.e_0 + run.entropy / 2:17.8f} eV\n\n"
    text += f"  energy  without entropy= {run.e_0 - run.entropy / 2:17.8f}  energy(sigma->0) = {run.e_0:17.8f}\n"
    if finished:
        text += " General timing and accounting informations for this job:\n"
        text += "                  Total CPU time used (sec):       12.345\n"
    return text.encode()


def moment_text(run: VaspRun, factor: float) -> str:
    return " ".join(f"{m * factor:15.7f}" for m in run.moment)


def lattice_text(run: VaspRun, scale: float) -> str:
    vectors, inverse = run.vectors * scale, np.linalg.inv(run.vectors * scale).T
    lines = ["  volume of cell : " + f"{run.volume * scale**3:11.2f}"]
    lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
    for row, other in zip(vectors, inverse, strict=True):
        lines += ["   " + "".join(f"{x:13.9f}" for x in row) + "  " + "".join(f"{x:13.9f}" for x in other)]
    return "\n".join(lines) + "\n"


def bands_text(run: VaspRun) -> str:
    full = 2.0 if len(run.energies) == 1 and not run.non_collinear else 1.0
    text = ""
    for s, (of_spin, filled) in enumerate(zip(run.energies, run.occupations, strict=True), 1):
        text += f" spin component {s}\n\n" if len(run.energies) == 2 else ""
        for k, (of_k, of_k_filled) in enumerate(zip(of_spin, filled, strict=True), 1):
            text += f" k-point {k:5d} :       0.0000    0.0000    0.0000\n  band No.  band energies     occupation \n"
            for b, (energy, occupation) in enumerate(zip(of_k, of_k_filled, strict=True), 1):
                text += f"{b:7d} {energy:11.4f} {full * occupation:12.5f}\n"
            text += "\n"
    return text
