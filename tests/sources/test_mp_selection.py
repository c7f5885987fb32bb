"""The section `source` as questions to the Materials Project, and its documents as values."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Element
from pymatgen.symmetry.groups import sg_symbol_from_int_number

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.properties import PROPERTIES
from rhoflow.sources.materials_project import documents, selection, tasks

SUMMARY = {
    "material_id": "mp-aaaaaaft",
    "is_stable": True,
    "symmetry": {"number": 227, "crystal_system": "Cubic"},
    "elements": ["Si"],
    "band_gap": 0.61,
    "nsites": 2,
    "nelements": 1,
    "density_atomic": 20.4,
    "energy_above_hull": 0.0,
    "bulk_modulus": {"voigt": 88.9, "reuss": 88.9, "vrh": 88.9},
    "shear_modulus": None,
    "efermi": None,
}


def source(**settings: Any) -> MaterialsProjectSource:
    return MaterialsProjectSource(kind="materials_project", **settings)


def asked(**settings: Any) -> list[dict[str, Any]]:
    made = source(**settings)
    return selection.searches(made, selection.read_ids(made))


def misfit(**settings: Any) -> str | None:
    return selection.misfit(source(**settings), SUMMARY, documents.properties_of(SUMMARY))


# What is asked


def test_fcc_groups_are_the_cubic_ones_with_an_f_lattice() -> None:
    symbols = {number: sg_symbol_from_int_number(number) for number in selection.CUBIC}
    assert tuple(number for number, symbol in symbols.items() if symbol.startswith("F")) == selection.FCC


def test_fcc_asks_each_f_group_once() -> None:
    assert [search["spacegroup_number"] for search in asked(lattice="fcc")] == list(selection.FCC)


def test_fcc_loose_asks_for_the_cubic_system() -> None:
    (search,) = asked(lattice="fcc_loose")
    assert search["crystal_system"] == "Cubic"


@pytest.mark.parametrize("lattice", ["any", "fcc", "fcc_loose"])
def test_each_lattice_says_in_words_what_it_means(lattice: str) -> None:
    assert selection.LATTICES[lattice]


def test_search_is_never_without_criteria() -> None:
    # Without any, the client downloads the whole Delta table.
    for search in asked(stable=False, needs_density=False):
        assert search["deprecated"] is False


def test_searches_use_only_arguments_of_the_client() -> None:
    from mp_api.client.routes.materials.summary import SummaryRester

    known = set(inspect.signature(SummaryRester.search).parameters) - {"kwargs"}
    everything = asked(
        elements=("Si",), exclude_elements=("O",), nelements=(1, 2), crystal_system="cubic", space_groups=(225,),
        complete=True, ranges=dict.fromkeys(documents.KEYS, (0, 1)),
    )  # fmt: skip
    assert set().union(*everything) <= known


def test_ranges_reach_the_server_as_its_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    from mp_api.client.core import BaseRester
    from mp_api.client.routes.materials.summary import SummaryRester

    sent: dict[str, Any] = {}
    monkeypatch.setattr(BaseRester, "_search", lambda _self, **criteria: sent.update(criteria) or [])
    ranges = {key: (1.0, 2.0) for key in documents.KEYS if key != "density_atomic"}
    (search,) = asked(ranges=ranges)
    with warnings.catch_warnings(action="ignore"):  # it always warns of its documentation
        SummaryRester.search(SummaryRester.__new__(SummaryRester), **search)
    limits = {f"{key}_{end}": value for key in ranges for end, value in (("min", 1.0), ("max", 2.0))}
    assert {key: sent.get(key) for key in limits} == limits


def test_hull_limit_and_range_of_the_hull_are_both_kept() -> None:
    (search,) = asked(stable=False, energy_above_hull_max=0.1, ranges={"energy_above_hull": (0.01, 0.5)})
    assert search["energy_above_hull"] == (0.01, 0.1)


def test_nelements_and_its_range_are_both_kept() -> None:
    (search,) = asked(nelements=(2, 3), ranges={"nelements": (None, 2)})
    assert search["num_elements"] == (2, 2)


def test_range_of_what_the_project_lacks_is_refused() -> None:
    with pytest.raises(
        StudyError, match=r"source.ranges.lattice_constant: the Materials Project has no such property"
    ):
        asked(ranges={"lattice_constant": (3, 4)})


def test_long_list_of_elements_is_cut_to_what_the_server_takes_and_the_rest_looked_at_again() -> None:
    symbols = tuple(str(Element.from_Z(z)) for z in range(1, 60))
    (search,) = asked(exclude_elements=symbols)
    sent = search["exclude_elements"]
    assert tuple(sent) == symbols[: len(sent)]
    assert 57 <= len(",".join(sent)) <= 60
    assert "Si" in symbols[: len(sent)]
    assert misfit(exclude_elements=(*symbols[20:], "Si")) == "source.exclude_elements: it holds Si"


def test_ids_are_asked_in_batches_without_other_filters() -> None:
    searches = asked(ids=tuple(f"mp-{n}" for n in range(1, 802)), lattice="fcc")
    assert [set(search) for search in searches] == [{"material_ids"}] * 3
    assert sorted(name for search in searches for name in search["material_ids"]) == sorted(
        f"mp-{n}" for n in range(1, 802)
    )


# Lists of ids


def test_ids_are_sorted_spelt_alike_and_each_once() -> None:
    made = source(ids=("mp-32", "mp-aaaaaaft", "mp-149", "mp-13"))
    assert selection.read_ids(made) == ("mp-13", "mp-149", "mp-32")


def test_ids_of_a_file_skip_comments_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("# ours\nmp-149 # silicon\n\n  mp-13,\n")
    assert selection.read_ids(source(ids=path)) == ("mp-13", "mp-149")


@pytest.mark.parametrize("bad", ["149", "silicon", "mp-", "mp-12a", "../mp-1", "mp-1 mp-2"])
def test_malformed_id_is_named(bad: str) -> None:
    with pytest.raises(StudyError, match=r"is no id of the Materials Project; they look like mp-149") as error:
        selection.read_ids(source(ids=(bad,)))
    assert repr(bad) in str(error.value)


def test_missing_ids_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"source.ids = .*nothing.txt' cannot be read .No such file"):
        selection.read_ids(source(ids=tmp_path / "nothing.txt"))


def test_ids_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.xlsx").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(StudyError, match=r"is no text file; it needs one id a line"):
        selection.read_ids(source(ids=tmp_path / "ids.xlsx"))


def test_empty_ids_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# none yet\n")
    with pytest.raises(StudyError, match=r"no id in it; give ids such as mp-149, or null"):
        selection.read_ids(source(ids=tmp_path / "ids.txt"))


# Looking again at what came


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, None),
        ({"lattice": "fcc"}, None),
        ({"space_groups": (225,)}, "source.space_groups: its space group is 227"),
        ({"crystal_system": "hexagonal"}, "source.crystal_system: it is cubic"),
        ({"elements": ("O",)}, "source.elements: it holds no O"),
        ({"exclude_elements": ("Si",)}, "source.exclude_elements: it holds Si"),
        ({"nelements": (2, 4)}, "source: its nelements is 1, outside [2, 4]"),
        ({"ranges": {"band_gap": (0.61, 0.61)}}, None),
        ({"ranges": {"band_gap": (None, 0.6)}}, "source: its band_gap is 0.61, outside [-inf, 0.6]"),
        ({"ranges": {"density_atomic": (21, None)}}, "source: its density_atomic is 20.4, outside [21, inf]"),
        ({"ranges": {"efermi": (None, None)}}, "source.ranges.efermi: it has no such value"),
    ],
)
def test_misfit_names_the_setting(settings: dict[str, Any], said: str | None) -> None:
    assert misfit(**settings) == said


def test_misfit_of_an_incomplete_material_names_what_it_lacks() -> None:
    said = misfit(complete=True)
    assert said is not None
    assert said.startswith("source.complete: it lacks")
    assert "g_vrh" in said
    assert "k_vrh" not in said


def test_unstable_and_withdrawn_materials_do_not_fit() -> None:
    assert selection.misfit(source(), {"is_stable": False}, {}) == "source.stable: it is not on the convex hull"
    assert "deprecated" in str(selection.misfit(source(), {"deprecated": True}, {}))


# Documents


def test_the_25_properties_are_those_of_the_table() -> None:
    assert set(documents.KEYS) == set(list(PROPERTIES)[:25])


def test_summary_fields_are_those_of_the_clients_model() -> None:
    from emmet.core.summary import SummaryDoc

    assert set(documents.SUMMARY_FIELDS) <= set(SummaryDoc.model_fields)


def test_moduli_come_from_their_dicts_and_nulls_are_left_out() -> None:
    properties = documents.properties_of(SUMMARY)
    assert properties["k_reuss"] == 88.9
    assert properties["nsites"] == 2.0
    assert not {"g_vrh", "efermi", "density"} & properties.keys()


@pytest.mark.parametrize("value", ["5 eV", True, float("inf"), float("nan"), [1.0], {"value": 1}])
def test_value_that_is_no_number_rejects_the_document(value: object) -> None:
    with pytest.raises(RejectedMaterialError, match=r"band_gap is .*; it must be a finite number") as error:
        documents.properties_of(SUMMARY | {"band_gap": value})
    assert error.value.reason is Reason.BAD_DOCUMENT


def test_modulus_that_is_no_dict_rejects_the_document() -> None:
    with pytest.raises(RejectedMaterialError, match=r"bulk_modulus is 88.9; it must be voigt, reuss and vrh"):
        documents.properties_of(SUMMARY | {"bulk_modulus": 88.9})


@pytest.mark.parametrize("bad", [None, 149, "", "../x", "mp 149", "x" * 101])
def test_bad_material_id_is_refused(bad: object) -> None:
    with pytest.raises(RejectedMaterialError) as error:
        documents.material_id_of({"material_id": bad})
    assert error.value.reason is Reason.BAD_ID


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("mp-149", "mp-149"),
        ("mp-aaaaaaft", "mp-149"),
        ("mp-hilze", "mp-aaahilze"),
        ("mp-aaahilze", "mp-aaahilze"),
        ("mvc-7", "mvc-7"),
        ("mp-149-GGA", "mp-149-GGA"),
    ],
)
def test_material_ids_are_spelt_as_the_project_shows_them(sent: str, shown: str) -> None:
    assert documents.material_id_of({"material_id": sent}) == shown


def test_elastic_tensor_is_the_ieee_one() -> None:
    raw, ieee = np.full((6, 6), 1.0).tolist(), np.arange(36.0).reshape(6, 6).tolist()
    document = {"elastic_tensor": {"raw": raw, "ieee_format": ieee}}
    assert documents.elastic_tensor_of(document) == ieee


@pytest.mark.parametrize("bad", [[[1.0] * 6] * 5, [[1.0] * 6] * 5 + [[1.0] * 5 + [None]], "stiff", [[1.0] * 5] * 6])
def test_elastic_tensor_of_another_shape_is_refused(bad: object) -> None:
    with pytest.raises(RejectedMaterialError, match=r"6 x 6 numbers \[GPa\]"):
        documents.elastic_tensor_of({"elastic_tensor": {"ieee_format": bad}})


# Calculations

CALCULATIONS = {
    "calc_types": {
        "aaafwnlr": "GGA Static",
        "mp-17": "GGA Structure Optimization",
        "mp-18": "GGA+U Static",
        "mp-19": "r2SCAN Static",
        "mp-20": "GGA Static",
        "mp-21": None,
    },
    "deprecated_tasks": ["mp-20"],
}


def test_static_tasks_of_the_wanted_functionals() -> None:
    found = documents.static_tasks_of(CALCULATIONS, ("GGA", "GGA+U"))
    assert found == {"mp-2680643": "GGA", "mp-18": "GGA+U"}


def test_material_without_calculations_has_no_static_tasks() -> None:
    assert documents.static_tasks_of({"calc_types": None}, ("GGA",)) == {}


@pytest.mark.parametrize("bad", ["../../etc", "mp-1/2", "MP-1", "mp-" + "9" * 40, ""])
def test_task_id_that_is_no_name_is_refused(bad: str) -> None:
    with pytest.raises(RejectedMaterialError, match=r"task id .* is none of the Materials Project"):
        documents.static_tasks_of({"calc_types": {bad: "GGA Static"}}, ("GGA",))


@pytest.mark.parametrize("number", [1, 149, 26**3, 26**4 - 1, 2680643, 3347529, 3347530, 4000000])
def test_spellings_hold_what_the_client_asks_for(number: int) -> None:
    from emmet.core.mpid import AlphaID
    from mp_api.client.core.utils import validate_ids

    def key(task_id: str) -> str:  # MPRester.get_charge_density_from_task_id, mp-api 0.46.5
        return str(AlphaID(validate_ids([task_id])[0].split("-")[-1], prefix="mp").string)

    found = tasks.spellings(f"mp-{number}")
    assert found[0] == key(str(AlphaID(number, padlen=8)))  # as the database writes it
    assert key(f"mp-{number}") in found
    assert {tasks.task_number(spelling) for spelling in found} == {number}
    assert {tasks.spellings(spelling) for spelling in found} == {found}


def test_newest_task_comes_first_whatever_the_time_zone() -> None:
    times = {
        "mp-1": "2024-05-01T10:00:00+02:00",
        "mp-2": {"$date": "2024-05-01T09:00:00Z"},
        "mp-3": "2024-05-01T08:30:00",
        "mp-4": None,
    }
    updated = dict(
        found for name, time in times.items() if (found := tasks.last_update({"task_id": name, "last_updated": time}))
    )
    order = tasks.newest_first(dict.fromkeys([*times, "mp-5"], "GGA"), updated)
    assert [name for name, _ in order] == ["mp-2", "mp-3", "mp-1", "mp-4"]


def test_task_updated_at_the_same_time_with_the_higher_number_is_newer() -> None:
    documents_ = [{"task_id": f"mp-{n}", "last_updated": "2024-05-01"} for n in (9, 10)]
    updated = dict(found for document in documents_ if (found := tasks.last_update(document)))
    assert [name for name, _ in tasks.newest_first({"mp-9": "GGA", "mp-10": "GGA"}, updated)] == ["mp-10", "mp-9"]
