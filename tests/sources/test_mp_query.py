"""The query of the Materials Project: the real client against the fake project."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_mp import FakeMaterialsProject, Fault
from fake_mp.world import DATABASE_VERSION, Material

from rhoflow.config import MaterialsProjectSource
from rhoflow.errors import Reason, StudyError
from rhoflow.sources.materials_project import query, selection
from rhoflow.sources.materials_project.details import REFUSALS
from rhoflow.sources.materials_project.snapshot import read_snapshot, write_lines

WAIT_S = 1e-3
EVERYTHING = {"stable": False, "needs_density": False}
PATHS = {
    "summary": "/materials/summary/",
    "core": "/materials/core/",
    "tasks": "/materials/tasks/",
    "robocrys": "/materials/robocrys/",
    "elasticity": "/materials/elasticity/",
}


class Queried:
    """What `write_snapshot` writes below a folder."""

    def __init__(self, root: Path) -> None:
        self.snapshot, self.cache = root / "catalog/materials_project.jsonl.gz", root / "scratch/query"

    def __call__(self, *, all_electron: bool = False, dos: bool = False, **settings: Any) -> Queried:
        source = MaterialsProjectSource(kind="materials_project", **(EVERYTHING | settings))
        query.write_snapshot(source, self.snapshot, self.cache, all_electron=all_electron, dos=dos, wait_s=WAIT_S)
        return self

    @property
    def header(self) -> dict[str, Any]:
        return read_snapshot(self.snapshot)[0]

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in read_snapshot(self.snapshot)[1]}


@pytest.fixture
def ask(tmp_path: Path, fake_mp: FakeMaterialsProject) -> Queried:
    return Queried(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(
    running_mp: FakeMaterialsProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bytes, dict[str, dict[str, Any]]]]:
    """Bytes and rows of everything there is, with densities of states, asked without a fault."""
    with pytest.MonkeyPatch.context() as patch:
        running_mp.order({})
        running_mp.activate(patch)
        done = Queried(tmp_path_factory.mktemp("undisturbed"))(dos=True)
        yield done.snapshot.read_bytes(), done.rows


Undisturbed = tuple[bytes, dict[str, dict[str, Any]]]


def visible(mp: FakeMaterialsProject) -> list[Material]:
    return [material for material in mp.materials if material.visible]


def one(mp: FakeMaterialsProject, fits: Callable[[Material], bool] = lambda material: True) -> Material:
    """A visible material with a density."""
    return next(material for material in visible(mp) if material.expected().task and fits(material))


def asked(mp: FakeMaterialsProject, path: str) -> list[dict[str, Any]]:
    return [entry for entry in mp.log() if entry["path"] == path]


# What is found


def test_every_visible_material_is_there_once_and_no_other(
    fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    assert list(undisturbed[1]) == sorted(material.id for material in visible(fake_mp))


def test_newest_static_task_with_an_object_is_taken(fake_mp: FakeMaterialsProject, undisturbed: Undisturbed) -> None:
    for material in visible(fake_mp):
        expected, row = material.expected(), undisturbed[1][material.id]
        if expected.task is None:
            assert row["rejected"]["reason"] == Reason.NO_DENSITY, material.role
        else:
            assert row["density"] == f"s3://materialsproject-parsed/{expected.task.key}"
            assert (row["task_id"], row["functional"]) == (expected.task.name, expected.task.run_type)
            assert row["passed_over"] == [task.name for task in expected.skipped]


def test_bytes_and_etag_are_those_of_the_object(fake_mp: FakeMaterialsProject, undisturbed: Undisturbed) -> None:
    material = one(fake_mp)
    content = fake_mp.object(material.expected().task.key)
    row = undisturbed[1][material.id]
    assert (row["bytes"], row["etag"]) == (len(content), hashlib.md5(content).hexdigest())


def test_properties_are_the_documents_in_house_units(fake_mp: FakeMaterialsProject, undisturbed: Undisturbed) -> None:
    material = one(fake_mp, lambda material: bool(material.elastic))
    properties = undisturbed[1][material.id]["properties"]
    assert {key: properties[key] for key in material.properties} == pytest.approx(material.properties)
    c11, c12 = material.elastic["c11"], material.elastic["c12"]
    assert properties["k_vrh"] == pytest.approx((c11 + 2 * c12) / 3)
    assert properties["density_atomic"] == pytest.approx(material.structure.volume / len(material.structure))


def test_elastic_tensor_is_there_where_the_project_has_one(
    fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    for material in visible(fake_mp):
        row = undisturbed[1][material.id]
        if "rejected" not in row and material.elastic:
            assert row["elastic_tensor"][0][:3] == [material.elastic["c11"], *[material.elastic["c12"]] * 2]
            assert row["elastic_tensor"][5][5] == material.elastic["c44"]
        elif "rejected" not in row:
            assert row["elastic_tensor"] is None


def test_text_and_dos_task_are_there_where_the_project_has_them(
    fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    rows = {name: row for name, row in undisturbed[1].items() if "rejected" not in row}
    assert {name: row["text"] for name, row in rows.items()} == {name: fake_mp[name].text for name in rows}
    tasks = {name: fake_mp[name].dos_task for name in rows}
    assert {name: row["dos_task"] for name, row in rows.items()} == {name: t and t.name for name, t in tasks.items()}


def test_header_tells_the_database_and_which_sense_of_fcc(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    header = ask(lattice="fcc").header
    assert header["database_version"] == DATABASE_VERSION
    assert header["lattice"] == selection.LATTICES["fcc"]
    assert header["n"] == len(ask.rows)
    assert {fake_mp[name].space_group for name in ask.rows} <= set(selection.FCC)


def test_fcc_loose_takes_cubic_crystals_that_fcc_does_not(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    groups = {fake_mp[name].space_group for name in ask(lattice="fcc_loose").rows}
    assert 221 in groups
    assert groups <= set(selection.CUBIC)


def test_functionals_choose_the_calculation(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    material = one(fake_mp, lambda material: bool(material.expected(("PBEsol",)).task))
    row = ask(ids=(material.id,), functionals=("PBEsol",)).rows[material.id]
    assert row["task_id"] == material.expected(("PBEsol",)).task.name
    assert row["functional"] == "PBEsol"


def test_ranges_and_completeness_leave_materials_out(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    rows = ask(ranges={"k_vrh": (100, None), "energy_above_hull": (None, 0.0)}).rows
    wanted = {
        m.id for m in visible(fake_mp) if m.elastic and m.stable and (m.elastic["c11"] + 2 * m.elastic["c12"]) >= 300
    }
    assert set(rows) == wanted


def test_limit_takes_the_first_ids(ask: Queried, undisturbed: Undisturbed) -> None:
    assert list(ask(limit=7).rows) == list(undisturbed[1])[:7]


def test_own_descriptions_ask_for_no_text(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    rows = ask(descriptions="own", limit=5).rows
    assert not asked(fake_mp, PATHS["robocrys"])
    assert all(row.get("text") is None for row in rows.values())


def test_all_electron_lists_both_files(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    material = one(fake_mp)
    key = material.expected().task.key
    row = ask(ids=(material.id,), all_electron=True).rows[material.id]
    names = [key.replace("chgcars", folder) for folder in ("aeccar0s", "aeccar2s")]
    assert row["aeccar"] == [f"s3://materialsproject-parsed/{name}" for name in names]
    assert row["aeccar_bytes"] == [len(fake_mp.object(name)) for name in names]
    assert row["aeccar_etags"] == [hashlib.md5(fake_mp.object(name)).hexdigest() for name in names]


def test_missing_aeccar_falls_back_or_is_rejected_with_the_files_named(
    ask: Queried, fake_mp: FakeMaterialsProject
) -> None:
    material = one(fake_mp, lambda material: len([t for t in material.statics(("GGA", "GGA+U")) if t.in_bucket]) == 1)
    key = material.expected().task.key
    fake_mp.order({f"HEAD {key.replace('chgcars', 'aeccar2s')}": Fault("absent", times=None)})
    rejected = ask(ids=(material.id, one(fake_mp).id), all_electron=True).rows[material.id]["rejected"]
    assert rejected["reason"] == Reason.NO_FIELD
    assert "AECCAR0 and AECCAR2" in rejected["detail"]
    assert material.expected().task.name in rejected["detail"]


def test_spelling_of_ids_makes_no_difference(undisturbed: Undisturbed, tmp_path: Path) -> None:
    with FakeMaterialsProject(n=200, ids="legacy") as mp, pytest.MonkeyPatch.context() as patch:
        mp.activate(patch)
        assert Queried(tmp_path)(dos=True).rows == undisturbed[1]


# Explicit ids


def test_listed_ids_are_found_rejected_or_unknown(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    found = one(fake_mp, lambda material: material.stable)
    unstable = one(fake_mp, lambda material: not material.stable)
    withdrawn = next(material for material in fake_mp.materials if material.role == "deprecated")
    rows = ask(ids=(found.id, unstable.id, withdrawn.id, "mp-42"), stable=True).rows
    assert "rejected" not in rows[found.id]
    assert rows[unstable.id]["rejected"] == {
        "reason": Reason.NOT_SELECTED,
        "detail": "source.stable: it is not on the convex hull",
    }
    assert rows[withdrawn.id]["rejected"]["reason"] in (Reason.NOT_SELECTED, Reason.UNKNOWN_ID)
    assert rows["mp-42"]["rejected"]["reason"] == Reason.UNKNOWN_ID
    assert DATABASE_VERSION in rows["mp-42"]["rejected"]["detail"]


def test_only_unknown_ids_stop_the_study(ask: Queried) -> None:
    with pytest.raises(StudyError, match=r"mp-42: database .* has no such material.*correct source.ids"):
        ask(ids=("mp-42",))


def test_empty_selection_says_what_to_loosen_and_is_not_remembered(ask: Queried) -> None:
    with pytest.raises(StudyError, match=r"has no material that meets it.*loosen stable, lattice, elements, ranges"):
        ask(elements=("Ac",), lattice="fcc_loose")
    assert not ask.cache.exists()


# The same bytes whatever happens on the way


def test_two_queries_write_the_same_bytes_and_clean_up(ask: Queried, undisturbed: Undisturbed) -> None:
    assert ask(dos=True).snapshot.read_bytes() == undisturbed[0]
    assert not ask.cache.exists()


@pytest.mark.parametrize(
    ("kind", "route"),
    [
        ("429", "summary"),
        ("500", "core"),
        ("503", "tasks"),
        ("reset", "robocrys"),
        ("short", "elasticity"),
        ("wrong_json", "core"),
        ("empty", "summary"),
        ("empty", "tasks"),
        ("reset", "summary"),
    ],
)
def test_passing_fault_costs_nothing(
    kind: str, route: str, ask: Queried, fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    fake_mp.order({PATHS[route]: Fault(kind, times=2, retry_after=0)})
    assert ask(dos=True).snapshot.read_bytes() == undisturbed[0]
    assert fake_mp.happened()[PATHS[route], kind] == 2


def test_page_that_comes_twice_is_asked_for_again(
    ask: Queried, fake_mp: FakeMaterialsProject, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PAGE", 50)
    fake_mp.order({PATHS["summary"] + "?_page=3": Fault("twice", times=2)})
    assert ask(dos=True).snapshot.read_bytes() == undisturbed[0]
    assert [entry["query"]["_page"] for entry in asked(fake_mp, PATHS["summary"])] == ["1", "2", "3", "3", "3", "4"]


def test_sizes_of_pages_and_batches_make_no_difference(
    ask: Queried, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PAGE", 13)
    monkeypatch.setattr(query, "BATCH", 31)
    assert ask(dos=True).snapshot.read_bytes() == undisturbed[0]


@pytest.mark.parametrize("route", ["summary", "core"])
def test_finished_pages_are_not_asked_again(
    route: str, ask: Queried, fake_mp: FakeMaterialsProject, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PAGE", 50)
    monkeypatch.setattr(query, "BATCH", 50)
    monkeypatch.setattr(query, "BATCHES_AT_ONCE", 1)
    fake_mp.order({PATHS[route]: Fault("500", times=None, after=2)})
    with pytest.raises(StudyError, match=r"in 6 tries: .*500.*finished pages are kept"):
        ask(dos=True)
    fake_mp.order({})
    assert ask(dos=True).snapshot.read_bytes() == undisturbed[0]
    assert len(asked(fake_mp, PATHS[route])) == 2  # of four


@pytest.mark.slow
def test_query_killed_at_any_moment_goes_on_where_it_was(
    fake_mp: FakeMaterialsProject, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom rhoflow.config import MaterialsProjectSource\n"
        "from rhoflow.sources.materials_project import query\nquery.PAGE = query.BATCH = 10\n"
        "source = MaterialsProjectSource(kind='materials_project', stable=False, needs_density=False)\n"
        "query.write_snapshot(source, Path(sys.argv[1]), Path(sys.argv[2]), all_electron=False, dos=True)"
    )
    snapshot, cache = tmp_path / "snapshot.jsonl.gz", tmp_path / "cache"
    command = [sys.executable, "-c", code, str(snapshot), str(cache)]
    environment = os.environ | fake_mp.environment()
    for pages in (1, 8, 19, 22, 30, 37):  # of 40
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            while process.poll() is None and len(list(cache.rglob("*.jsonl"))) < pages:
                time.sleep(0.001)
            process.kill()
        assert pages <= len(list(cache.rglob("*.jsonl"))) < 40  # killed on the way
    subprocess.run(command, env=environment, check=True)
    assert snapshot.read_bytes() == undisturbed[0]
    assert not cache.exists()


def test_pages_of_another_question_are_not_used(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({PATHS["core"]: Fault("500", times=None)})
    with pytest.raises(StudyError, match=r"no answer to calculations"):
        ask(limit=3)
    fake_mp.order({})
    ask(limit=4)
    assert len(asked(fake_mp, PATHS["summary"])) == 1
    assert len(ask.rows) == 4


# Bad answers


def test_document_with_a_bad_id_is_rejected_and_the_others_stay(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({PATHS["summary"]: Fault("bad_id", times=None)})
    rows = ask().rows
    assert rows["../../etc/passwd"]["rejected"]["reason"] == Reason.BAD_ID
    assert len(rows) == len(visible(fake_mp))


def test_documents_that_are_none_are_rejected_one_by_one(
    ask: Queried, fake_mp: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mp_api.client.routes.materials.summary import SummaryRester

    true_search = SummaryRester.search
    text, infinite = sorted(material.id for material in visible(fake_mp))[:2]

    def search(self: SummaryRester, **arguments: Any) -> list[Any]:
        documents: list[Any] = true_search(self, **arguments)
        for document in documents:
            if selection.shown_id(document["material_id"]) == text:
                document["band_gap"] = "wide"
            elif selection.shown_id(document["material_id"]) == infinite:
                document["efermi"] = float("inf")
        return [*documents, {"material_id": None, "band_gap": 1.0}, {"material_id": None}, None]

    monkeypatch.setattr(SummaryRester, "search", search)
    rows = ask().rows
    assert rows[text]["rejected"] == {
        "reason": Reason.BAD_DOCUMENT,
        "detail": "band_gap is 'wide'; it must be a finite number",
    }
    assert "efermi is inf" in rows[infinite]["rejected"]["detail"]
    reasons = Counter(row["rejected"]["reason"] for row in rows.values() if "rejected" in row)
    assert (reasons[Reason.BAD_ID], reasons[Reason.BAD_DOCUMENT]) == (2, 3)
    assert len(rows) == len(visible(fake_mp)) + 3


def test_object_that_never_answers_is_rejected_and_the_others_stay(
    ask: Queried, fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    material = one(fake_mp)
    fake_mp.order({f"HEAD {material.expected().task.key}": Fault("500", times=None)})
    rows = ask(dos=True).rows
    assert rows[material.id]["rejected"]["reason"] == Reason.DOWNLOAD
    assert {k: v for k, v in rows.items() if k != material.id} == {
        k: v for k, v in undisturbed[1].items() if k != material.id
    }


def test_bucket_that_does_not_answer_stops_the_query_and_costs_no_material(
    ask: Queried, fake_mp: FakeMaterialsProject
) -> None:
    fake_mp.order({"HEAD *": Fault("503", times=None, retry_after=0)})
    with pytest.raises(StudyError, match=r"the bucket of densities does not answer.*finished pages are kept"):
        ask(ids=tuple(material.id for material in visible(fake_mp)[:5]))
    fake_mp.order({})
    assert [row for row in ask(ids=tuple(m.id for m in visible(fake_mp)[:5])).rows.values() if "density" in row]


def test_bucket_that_refuses_everything_stops_the_query_and_costs_no_material(
    ask: Queried, fake_mp: FakeMaterialsProject, undisturbed: Undisturbed
) -> None:
    chosen = tuple(key for key, row in undisturbed[1].items() if "density" in row)[: REFUSALS + 5]
    fake_mp.order({"HEAD *": Fault("refused", times=None)})
    with pytest.raises(StudyError, match=r"answers 403 .*20 materials in a row.*HTTPS_PROXY"):
        ask(ids=chosen)
    fake_mp.order({})
    assert [key for key, row in ask(ids=chosen).rows.items() if "density" in row] == sorted(chosen)


def test_single_refused_objects_are_absent_ones(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    """S3 answers 403 for an absent object where listing is not allowed."""
    chosen = [material for material in visible(fake_mp) if material.role == "no_object"]
    fake_mp.order({f"HEAD chgcars/{task.name}*": Fault("refused", times=None) for m in chosen for task in m.tasks})
    rows = ask(ids=(*(material.id for material in chosen), one(fake_mp).id)).rows
    assert {rows[material.id]["rejected"]["reason"] for material in chosen} == {Reason.NO_DENSITY}
    assert "density" in rows[one(fake_mp).id]


def test_newest_object_missing_falls_back_to_the_next(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    material = one(fake_mp, lambda material: len([t for t in material.statics(("GGA", "GGA+U")) if t.in_bucket]) == 2)
    newest, next_one = material.statics(("GGA", "GGA+U"))
    fake_mp.order({f"HEAD {newest.key}": Fault("absent", times=None)})
    row = ask(ids=(material.id,)).rows[material.id]
    assert row["density"].endswith(next_one.key)
    assert row["passed_over"] == [newest.name]


# The client is never allowed to fetch the table of everything


def test_only_pages_and_heads_are_asked_for(ask: Queried, fake_mp: FakeMaterialsProject) -> None:
    ask(dos=True, all_electron=True)
    kinds = {(entry["service"], entry["method"]) for entry in fake_mp.log()}
    assert kinds == {("rest", "GET"), ("s3", "HEAD")}
    assert all(entry["query"].keys() & {"deprecated", "material_ids"} for entry in asked(fake_mp, PATHS["summary"]))


# The key


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it drags along."""
    waiting, seen = [error], set()
    while waiting:
        here = waiting.pop()
        if id(here) not in seen:
            seen.add(id(here))
            yield here
            waiting += [other for other in (here.__cause__, here.__context__) if other is not None]


WRONG_KEY = "f00dfacef00dfacef00dfacef00dface"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "there is no API key"),
        ("", "there is no API key"),
        ("short", "has not 32 characters"),
        (WRONG_KEY, "refused the API key .401."),
        (f"{WRONG_KEY[:-1]}\n", "holds characters that no key has"),
    ],
    ids=["none", "empty", "short", "wrong", "newline"],
)
def test_bad_key_is_told_with_where_to_get_one(
    key: str | None, said: str, ask: Queried, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", None)
    monkeypatch.delenv("MP_API_KEY") if key is None else monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(
        StudyError, match=rf"{said}.*https://materialsproject.org/api.*MP_API_KEY.*kind: manifest"
    ) as error:
        ask()
    if key:
        assert not [link for link in chain(error.value) if key.strip() in f"{link!r}{link}{vars(link)}"]
        assert key.strip() not in "".join(capfd.readouterr())


def test_key_reaches_no_file_message_or_log(
    ask: Queried, fake_mp: FakeMaterialsProject, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_mp.order({PATHS["core"]: Fault("500", times=None)})
    with pytest.raises(StudyError) as error:
        ask(limit=5)
    held = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    fake_mp.order({})
    ask(limit=5)
    held += [gzip.decompress(ask.snapshot.read_bytes()), "".join(capfd.readouterr()).encode()]
    assert len(held) > 3
    assert not [text for text in held if fake_mp.api_key.encode() in text]
    assert not [link for link in chain(error.value) if fake_mp.api_key in f"{link!r}{link}{vars(link)}"]


def test_server_that_echoes_the_key_does_not_spread_it(
    ask: Queried, fake_mp: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mp_api.client import MPRestError
    from mp_api.client.routes.materials.summary import SummaryRester

    def search(*_: Any, **__: Any) -> None:
        raise MPRestError(f"error status code 418 on URL http://me:secret@host/ x-api-key: {fake_mp.api_key}")

    monkeypatch.setattr(SummaryRester, "search", search)
    with pytest.raises(StudyError, match=r"http://\*\*\*@host/ x-api-key: \*\*\*") as error:
        ask()
    assert not [link for link in chain(error.value) if fake_mp.api_key in f"{link!r}{link}" or "secret" in str(link)]


# The network, the disk, the command line


def test_no_network_is_told_with_what_to_do(ask: Queried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    with pytest.raises(StudyError, match=r"no answer to heartbeat in 6 tries: ConnectionError.*compute nodes often"):
        ask()


def test_endpoint_that_is_no_url_is_told(ask: Queried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_ENDPOINT", "materials")
    with pytest.raises(StudyError, match=r"MP_API_ENDPOINT. is no URL"):
        ask()


def test_full_disk_is_told(ask: Queried, monkeypatch: pytest.MonkeyPatch) -> None:
    from rhoflow.sources.materials_project.pages import Pages

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Pages, "write", full)
    with pytest.raises(StudyError, match=r"the disk is full; free some space, then run again"):
        ask()


def test_script_writes_the_snapshot_with_the_key_of_pymatgens_settings_file(
    fake_mp: FakeMaterialsProject, tmp_path: Path, project: Path, undisturbed: Undisturbed
) -> None:
    options = {"source": {"kind": "materials_project", **EVERYTHING}, "dos": True}
    command = [sys.executable, str(project / "workflow/scripts/query.py"), "--options", json.dumps(options)]
    command += ["--cache", str(tmp_path / "cache"), "--snapshot", str(tmp_path / "snapshot.jsonl.gz")]
    command += ["--connections", "4"]
    settings = tmp_path / "pmgrc.yaml"
    settings.write_text(f"PMG_MAPI_KEY: {fake_mp.api_key}\n")
    environment = os.environ | fake_mp.environment() | {"PMG_CONFIG_FILE": str(settings)}
    del environment["MP_API_KEY"]
    environment.pop("PMG_MAPI_KEY", None)
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert fake_mp.api_key not in run.stdout + run.stderr
    assert (tmp_path / "snapshot.jsonl.gz").read_bytes() == undisturbed[0]
    assert "query: materials: 193/193" in run.stderr


# The snapshot


def test_snapshot_is_read_as_it_was_written(tmp_path: Path) -> None:
    header = {"database_version": "1", "selection": {}, "lattice": "any", "n": 2}
    rows = [{"id": "mp-1", "text": "Å"}, {"id": "mp-2", "rejected": {"reason": "x", "detail": "y"}}]
    write_lines(tmp_path / "s.gz", header, rows)
    assert read_snapshot(tmp_path / "s.gz")[0] == header
    assert list(read_snapshot(tmp_path / "s.gz")[1]) == rows


def test_missing_snapshot_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"s.gz: no whole answer of the Materials Project .*delete it and run again"):
        read_snapshot(tmp_path / "s.gz")


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.99])
def test_truncated_snapshot_is_noticed(keep: float, undisturbed: Undisturbed, tmp_path: Path) -> None:
    (tmp_path / "s.gz").write_bytes(undisturbed[0][: int(keep * len(undisturbed[0]))])
    with pytest.raises(StudyError, match=r"no whole answer of the Materials Project"):
        list(read_snapshot(tmp_path / "s.gz")[1])


@pytest.mark.parametrize(
    ("ids", "n", "said"),
    [(["mp-1"], 2, "1 materials instead of 2"), (["mp-2", "mp-1"], 2, "line 3 is out of order"), ([7], 1, "line 2")],
)
def test_snapshot_that_was_tampered_with_is_noticed(ids: list[Any], n: int, said: str, tmp_path: Path) -> None:
    header = {"database_version": "1", "selection": {}, "lattice": "any", "n": n}
    write_lines(tmp_path / "s.gz", header, [{"id": name} for name in ids])
    with pytest.raises(StudyError, match=said):
        list(read_snapshot(tmp_path / "s.gz")[1])
