"""Densities of states reach their store from every source, and a material without one stays."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from fake_mp import FakeMaterialsProject
from pymatgen.electronic_structure.core import Spin
from pymatgen.electronic_structure.dos import Dos

from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.materials.shards import read_report
from rhoflow.sources import dos as dos_module
from rhoflow.sources.dos import dos_shard
from rhoflow.sources.materials_project import client
from rhoflow.sources.retries import OUTAGE, TRIES

from .test_runs import MAGNET
from .vasp_runs import VaspRun, outcar_text, vasprun_text

EXACT = 0.0
PRINTED = 1e-9


def _gather(folder: Path, *, listed: dict[str, str] | None = None, **where: str | None):
    """Store and report of a plan whose materials have their DOS in these places, some with a listed digest."""
    plan, store = folder / "plan/0000.json", folder / "dos/0000.h5"
    entries: list[dict] = [{"id": name.replace("_", "-"), "dos": place} for name, place in where.items()]
    for entry in entries:
        if entry["id"] in (listed or {}):
            entry["checks"] = {"dos": {"blake3": listed[entry["id"]]}}
    write_json(plan, {"shard": "0000", "materials": entries})
    dos_shard(plan, store, wait_s=0.0)
    return store, read_report(store)


def _arrays(store: Path, material_id: str) -> dict[str, np.ndarray]:
    with h5py.File(store) as file:
        return {name: file[material_id][name][...] for name in file[material_id]}


def _efermi(store: Path, material_id: str) -> float:
    with h5py.File(store) as file:
        return float(file[material_id].attrs["efermi"])


def test_dos_of_the_demo_is_on_the_calculations_own_scale(tmp_path: Path, demo: Path) -> None:
    path = demo / "Co2MnSi_heusler/dos.json"
    store, report = _gather(tmp_path, magnet=str(path))
    content = json.loads(path.read_text())
    found = _arrays(store, "magnet")
    assert set(found) == {"energies", "up", "down"}
    np.testing.assert_allclose(found["energies"] - content["zero_eV"], content["energy_eV"], rtol=0, atol=PRINTED)
    np.testing.assert_allclose(found["down"], content["down"], rtol=0, atol=EXACT)
    assert _efermi(store, "magnet") == content["fermi_level_eV"]
    assert report.stats["magnet"] == {"points": 401, "spin": True}


def test_energies_of_an_insulator_are_not_taken_from_the_fermi_level(tmp_path: Path, demo: Path) -> None:
    """Its file counts from the top of the valence band, which the Fermi level is not."""
    path = demo / "NaCl_rocksalt/dos.json"
    store, _ = _gather(tmp_path, a=str(path))
    content = json.loads(path.read_text())
    found = _arrays(store, "a")
    assert content["zero"] == "VBM"
    top = found["energies"][found["total"] > 1e-6]
    assert top[top < content["zero_eV"] + 1].max() == pytest.approx(content["zero_eV"], abs=0.06)  # a bin has 0.05 eV


@pytest.mark.parametrize("run", [VaspRun(), MAGNET], ids=["unpolarised", "polarised"])
def test_dos_of_a_vasprun(tmp_path: Path, run: VaspRun) -> None:
    path = tmp_path / "vasprun.xml.xz"
    path.write_bytes(lzma.compress(vasprun_text(run)))
    store, _ = _gather(tmp_path, a=str(path))
    found = _arrays(store, "a")
    names = ["up", "down"] if len(run.dos) == 2 else ["total"]
    assert list(found) == sorted(["energies", *names])
    np.testing.assert_allclose(found["energies"], run.dos_energies, rtol=0, atol=PRINTED)
    for name, values in zip(names, run.dos, strict=True):
        np.testing.assert_allclose(found[name], values, rtol=0, atol=PRINTED)
    assert _efermi(store, "a") == pytest.approx(run.efermi, abs=PRINTED)


def test_material_without_a_usable_dos_has_a_note_and_no_rejection(tmp_path: Path) -> None:
    (tmp_path / "OUTCAR").write_bytes(outcar_text(VaspRun()))
    (tmp_path / "vasprun.xml").write_bytes(vasprun_text(VaspRun())[:3000])
    (tmp_path / "dos.json").write_text('{"unit": "states/Ry"}')
    where = {"none": None, "killed": str(tmp_path / "vasprun.xml"), "unit": str(tmp_path / "dos.json")}
    store, report = _gather(tmp_path, **where, gone=str(tmp_path / "other/dos.json"))
    assert (report.rejected, report.digests) == ({}, {})
    assert "neither vasprun.xml nor dos.json" in report.stats["none"]["note"]
    assert "killed" in report.stats["killed"]["note"]
    assert "another one than states/eV" in report.stats["unit"]["note"]
    assert "No such file" in report.stats["gone"]["note"]
    with h5py.File(store) as file:
        assert list(file) == []


LAYOUT = {"unit": "states/eV/cell", "zero_eV": 0.0, "fermi_level_eV": 1.0, "energy_eV": [0, 1, 2], "total": [0, 1, 0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total": [0, 1]}, r"shape \(1, 2\)"),
        ({"total": [[0, 1, 0]]}, "expected"),
        ({"energy_eV": [0, 2, 1]}, "do not ascend"),
        ({"total": [0, float("nan"), 0]}, "not finite"),
        ({"fermi_level_eV": float("inf")}, "not finite"),
        ({"up": [0, 1, 0]}, "KeyError"),
        ({"zero_eV": None}, "TypeError"),
        ({"energy_eV": [1], "total": [1]}, "m from 2"),
        ({"energy_eV": [], "total": []}, "expected"),
    ],
)
def test_bad_dos_is_noted(tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "dos.json").write_text(json.dumps(LAYOUT | change))
    _, report = _gather(tmp_path, a=str(tmp_path / "dos.json"))
    assert "a" not in report.digests
    assert re.search(message, report.stats["a"]["note"])


def test_dos_nested_without_end_is_noted(tmp_path: Path) -> None:
    (tmp_path / "dos.json").write_text("[" * 100_000)
    _, report = _gather(tmp_path, a=str(tmp_path / "dos.json"))
    assert "RecursionError" in report.stats["a"]["note"]


def test_digest_follows_the_numbers_alone(tmp_path: Path) -> None:
    digests = []
    for name, change in (("a", {}), ("b", {"method": "other words"}), ("c", {"fermi_level_eV": 1.5})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dos.json").write_text(json.dumps(LAYOUT | change))
        digests.append(_gather(tmp_path / name, x=str(tmp_path / name / "dos.json"))[1].digests["x"])
    assert digests[0] == digests[1] != digests[2]


class FakeRester:
    """Gives what a test has put under a task id, or raises it."""

    def __init__(self, answers: dict[str, list[object]]) -> None:
        self.answers, self.asked = answers, []

    def get_dos_from_task_id(self, task_id: str) -> Dos:
        self.asked.append(task_id)
        answer = self.answers[task_id].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def mp(monkeypatch: pytest.MonkeyPatch):
    """The Materials Project's client, whose DOS come from a test; retries and errors are the real ones."""

    def make(**answers: list[object]) -> FakeRester:
        rester = FakeRester({name.replace("_", "-"): list(values) for name, values in answers.items()})
        monkeypatch.setattr(client, "open_dos", lambda: rester)
        return rester

    return make


ENERGIES = np.linspace(-3.0, 3.0, 5)
POLARISED = Dos(0.25, ENERGIES, {Spin.down: np.arange(5.0), Spin.up: np.arange(5.0) ** 2})


def test_dos_of_the_materials_project(tmp_path: Path, mp) -> None:
    unpolarised = Dos(-1.0, ENERGIES, {Spin.up: np.ones(5)})
    mp(mp_1=[POLARISED], mp_2=[unpolarised])
    store, _ = _gather(tmp_path, a="mp:mp-1", b="mp:mp-2")
    found = _arrays(store, "a")
    np.testing.assert_array_equal(found["up"], np.arange(5.0) ** 2)
    np.testing.assert_array_equal(found["down"], np.arange(5.0))
    np.testing.assert_array_equal(found["energies"], ENERGIES)
    assert _efermi(store, "a") == 0.25
    assert set(_arrays(store, "b")) == {"energies", "total"}


def test_project_is_asked_again_and_knows_no_dos_of_some(tmp_path: Path, mp) -> None:
    from mp_api.client import MPRestError

    rester = mp(
        mp_1=[OSError("reset"), MPRestError("Failed to retrieve object due to: timeout"), POLARISED],
        mp_2=[MPRestError("No DOS data found for task_id='mp-2'")],
    )
    _, report = _gather(tmp_path, a="mp:mp-1", b="mp:mp-2")
    assert rester.asked == ["mp-1"] * 3 + ["mp-2"]
    assert "no density of states of mp-2" in report.stats["b"]["note"]
    assert set(report.digests) == {"a"}


@pytest.mark.parametrize(
    "answer",
    [None, SimpleNamespace(densities={}), ValueError("Fermi level unspecified")],
    ids=["None", "bare", "bad"],
)
def test_answer_that_is_no_dos_is_noted_at_once(tmp_path: Path, mp, answer: object) -> None:
    rester = mp(mp_1=[answer])
    _, report = _gather(tmp_path, a="mp:mp-1")
    assert rester.asked == ["mp-1"]
    assert "density of states of mp-1 cannot be used" in report.stats["a"]["note"]


def _with_silent(folder: Path, mp, silent: int):
    """Gather one more than `OUTAGE`, the first of which the project never answers for."""
    names = [f"mp_{k}" for k in range(OUTAGE + 1)]
    rester = mp(**{name: [OSError("reset")] * TRIES if k < silent else [POLARISED] for k, name in enumerate(names)})
    return rester, _gather(folder, **{name: f"mp:mp-{k}" for k, name in enumerate(names)})


def test_densities_of_states_that_never_come_are_noted(tmp_path: Path, mp) -> None:
    """One object that is broken for good must not cost the shard its other densities of states."""
    rester, (_, report) = _with_silent(tmp_path, mp, OUTAGE - 1)
    assert rester.asked.count("mp-0") == TRIES
    assert set(report.digests) == {f"mp-{OUTAGE - 1}", f"mp-{OUTAGE}"}
    assert re.search(r"density of states of mp-0 came from the bucket in \d tries", report.stats["mp-0"]["note"])


@pytest.mark.parametrize("silent", [OUTAGE, OUTAGE + 1])
def test_bucket_that_never_answers_stops_the_stage(tmp_path: Path, mp, silent: int) -> None:
    with pytest.raises(StudyError, match=rf"dos 0000: no answer for {OUTAGE} densities of states in a row"):
        _with_silent(tmp_path, mp, silent)
    assert not (tmp_path / "dos/0000.h5").exists()


def test_bucket_without_any_answer_stops_a_small_shard_too(tmp_path: Path, mp) -> None:
    mp(mp_1=[OSError("reset")] * TRIES)
    with pytest.raises(StudyError, match=r"dos 0000: no answer for 1 densities of states"):
        _gather(tmp_path, a="mp:mp-1", b=None)


def test_bad_answer_is_an_answer(tmp_path: Path, mp) -> None:
    names = [f"mp_{k:02d}" for k in range(OUTAGE + 1)]
    mp(**{name: [None] if k == 4 else [OSError("reset")] * TRIES for k, name in enumerate(names)})
    _, report = _gather(tmp_path, **{name: f"mp:{name.replace('_', '-')}" for name in names})
    assert "cannot be used" in report.stats["mp-04"]["note"]


def test_answers_in_between_are_no_outage(tmp_path: Path, mp) -> None:
    answers = {f"mp_{k:02d}": [POLARISED] if k % OUTAGE == 7 else [OSError("reset")] * TRIES for k in range(16)}
    mp(**answers)
    _, report = _gather(tmp_path, **{name: f"mp:{name.replace('_', '-')}" for name in answers})
    assert set(report.digests) == {"mp-07", "mp-15"}


def test_other_numbers_than_were_listed_are_noted(tmp_path: Path, mp) -> None:
    mp(mp_1=[POLARISED], mp_2=[POLARISED])
    digest = _gather(tmp_path, a="mp:mp-1")[1].digests["a"]
    mp(mp_1=[POLARISED], mp_2=[POLARISED])
    store, report = _gather(tmp_path, listed={"a": digest, "b": "0" * 64}, a="mp:mp-1", b="mp:mp-2")
    assert report.digests == {"a": digest}
    assert "not the density of states that was listed" in report.stats["b"]["note"]
    with h5py.File(store) as file:
        assert list(file) == ["a"]


@pytest.mark.parametrize("task", ["mp-1'; DROP", "../x", ""])
def test_task_that_is_no_id_never_reaches_a_query(tmp_path: Path, mp, task: str) -> None:
    rester = mp()
    _, report = _gather(tmp_path, a=f"mp:{task}")
    assert rester.asked == []
    assert "only letters, digits" in report.stats["a"]["note"]


def test_project_is_not_opened_for_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dos_module._Project, "read", lambda *_: pytest.fail("asked"))
    (tmp_path / "dos.json").write_text(json.dumps(LAYOUT))
    assert set(_gather(tmp_path, a=str(tmp_path / "dos.json"))[1].digests) == {"a"}


def test_table_in_the_bucket_takes_neither_key_nor_api(
    tmp_path: Path, fake_mp: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own query on a Delta table of the project's layout, in an S3 that is not Amazon's."""
    from mp_api.client.core import utils

    monkeypatch.setattr(utils.MAPI_CLIENT_SETTINGS, "ENDPOINT", "http://127.0.0.1:9/")
    monkeypatch.setenv("MP_API_KEY", "malformed")
    having = [material for material in fake_mp.materials if material.dos_task]
    for spin in (True, False):
        material = next(material for material in having if bool(material.crystal.spin) is spin)
        names = ("up", "down") if spin else ("total",)
        store, report = _gather(tmp_path, a=f"mp:{material.dos_task.alpha}", c="mp:mp-999999999")
        found = _arrays(store, "a")
        assert set(found) == {"energies", *names}
        np.testing.assert_allclose([found[name] for name in names], material.crystal.dos, rtol=0, atol=PRINTED)
        np.testing.assert_allclose(found["energies"], material.crystal.energies, rtol=0, atol=PRINTED)
        assert _efermi(store, "a") == pytest.approx(material.properties["efermi"], abs=PRINTED)
        assert "no density of states of mp-999999999" in report.stats["c"]["note"]
