"""The list of crystals: parsing, names, magnetic starts."""

import pytest

from tools.dft.crystals import Crystal, formula, initial_moments, read_crystals

HEADER = "prototype,site_0,site_1_4,site_1_2,site_3_4,lattice_constant_A,spin_polarised,hypothetical\n"


@pytest.fixture(scope="module")
def crystals():
    return {crystal.id: crystal for crystal in read_crystals()}


def test_list_names_every_shipped_crystal(crystals, shipped_rows):
    assert set(shipped_rows) - set(crystals) == set()


def test_formula_and_prototype_are_the_shipped_ones(crystals, shipped_rows):
    got = {name: (formula(crystals[name].sites), crystals[name].prototype) for name in shipped_rows}
    assert got == {name: (row["formula"], row["prototype"]) for name, row in shipped_rows.items()}


def test_flags_are_the_shipped_ones(crystals, shipped_rows):
    got = {name: (str(crystals[name].spin_polarised), str(crystals[name].hypothetical)) for name in shipped_rows}
    expected = {name: (row["spin_polarised"], row["hypothetical"]) for name, row in shipped_rows.items()}
    assert got == expected


def test_guesses_lie_within_the_volume_series(crystals, shipped_rows):
    for name, row in shipped_rows.items():
        assert float(row["lattice_constant_A"]) / crystals[name].lattice_constant == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (("Al", None, None, None), "Al"),
        (("Si", "Si", None, None), "Si"),
        (("Na", None, "Cl", None), "NaCl"),
        (("Ca", "F", None, "F"), "CaF2"),
        (("P", "Rh", None, "Rh"), "Rh2P"),
        (("Bi", "Cs", "Cs", "Cs"), "Cs3Bi"),
        (("Na", "Na", "Tl", "Tl"), "NaTl"),
        (("Sn", "Ni", "Ti", None), "TiNiSn"),
        (("Mn", "Co", "Si", "Co"), "Co2MnSi"),
        (("Mn", "Mn", "Co", "Al"), "Mn2CoAl"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formula_follows_custom(sites, expected):
    assert formula(sites) == expected


def test_moments_start_antiparallel_in_inverse_manganese_heuslers(crystals):
    assert initial_moments(crystals["Mn2CoAl_inverse-heusler"]) == [-3.5, 3.5, 1.2, 0.0]


def test_moments_are_absent_without_spin(crystals):
    assert initial_moments(crystals["MgO_rocksalt"]) is None


def test_list_refuses_a_repeated_crystal(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(HEADER + "fcc,Al,,,,4.04,False,False\n" * 2)
    with pytest.raises(ValueError, match="Al_fcc stands 2 times"):
        read_crystals(path)


@pytest.mark.parametrize(
    "line",
    ["fcc,Al,,,,wide,False,False", "fcc,Al,,,,4.04,yes,False", "fcc,,,,,4.04,False,False", "fcc,Al,,,,0,False,False"],
    ids=["edge", "flag", "empty", "zero"],
)
def test_list_names_the_bad_line(tmp_path, line):
    path = tmp_path / "list.csv"
    path.write_text(HEADER + "fcc,Cu,,,,3.63,False,False\n" + line + "\n")
    with pytest.raises(ValueError, match=r"list\.csv:3"):
        read_crystals(path)


def test_elements_keep_the_order_of_the_sites():
    crystal = Crystal("heusler", ("Mn", "Co", "Si", "Co"), 5.63, spin_polarised=True, hypothetical=False)
    assert crystal.elements == ["Mn", "Co", "Si"]
