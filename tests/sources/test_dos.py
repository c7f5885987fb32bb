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
import requests
from pymatgen.electronic_structure.core import Spin
from pymatgen.electronic_structure.dos import Dos

from rhoflow.errors import StudyError
from rhoflow.materials.digests import write_json
from rhoflow.materials.shards import read_report
from rhoflow.sources import dos as dos_module
from rhoflow.sources.dos import dos_shard
from rhoflow.sources.retries import OUTAGE, TRIES

from .test_runs import MAGNET
from .vasp_runs import VaspRun, outcar_text, vasprun_text

EXACT = 0.0
PRINTED = 1e-9


def _gather(folder: Path, **where: str | None):
    """Store and report of a plan whose materials have their DOS in these places."""
    plan, store = folder / "plan/0000.json", folder / "dos/0000.h5"
    entries = [{"id": name.replace("_", "-"), "dos": place} for name, place in where.items()]
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
    from rhoflow.sources.materials_project.client import Client

    def make(**answers: list[object]) -> FakeRester:
        rester = FakeRester({name.replace("_", "-"): list(values) for name, values in answers.items()})
        opened = SimpleNamespace(session=SimpleNamespace(close=lambda: None), db_version="2026.1")
        monkeypatch.setattr(Client, "_open", lambda self: opened)
        monkeypatch.setattr(Client, "_route", lambda self, kind: rester)
        monkeypatch.setenv("MP_API_KEY", "0123456789abcdef0123456789abcdef")
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
    assert re.search(r"density of states of mp-0 in \d tries", report.stats["mp-0"]["note"])


def test_project_that_never_answers_stops_the_stage(tmp_path: Path, mp) -> None:
    with pytest.raises(
        StudyError, match=rf"dos 0000: no answer for {OUTAGE} densities of states in a row, .* mp-7 in"
    ):
        _with_silent(tmp_path, mp, OUTAGE)
    assert not (tmp_path / "dos/0000.h5").exists()


def test_answers_in_between_are_no_outage(tmp_path: Path, mp) -> None:
    answers = {f"mp_{k:02d}": [POLARISED] if k % OUTAGE == 7 else [OSError("reset")] * TRIES for k in range(16)}
    mp(**answers)
    _, report = _gather(tmp_path, **{name: f"mp:{name.replace('_', '-')}" for name in answers})
    assert set(report.digests) == {"mp-07", "mp-15"}


def test_project_that_cannot_be_opened_stops_the_stage_at_once(tmp_path: Path, mp, monkeypatch) -> None:
    from rhoflow.sources.materials_project.client import Client

    def fail(_: Client) -> None:
        raise requests.ConnectionError("no route to host")

    rester = mp(mp_1=[POLARISED])
    monkeypatch.setattr(Client, "_open", fail)
    with pytest.raises(StudyError, match=r"no answer to heartbeat .*no route to host"):
        _gather(tmp_path, a="mp:mp-1")
    assert rester.asked == []


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


def test_real_client_reads_the_projects_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mp) -> None:
    """The client's own query on a Delta table of the project's layout, which here lies on the disk."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake
    from mp_api.client.routes.materials.electronic_structure import DosRester

    rows = {
        "identifier": ["aaaaabmm", "aaaaabmn"],  # mp-1000 and mp-1001, as the table spells them
        "energies": [ENERGIES.tolist()] * 2,
        "efermi": [0.25, 0.5],
        "spin_up_densities": [[0.0, 1.0, 2.0, 1.0, 0.0]] * 2,
        "spin_down_densities": [[0.0, 3.0, 1.0, 0.0, 0.0], None],
    }
    write_deltalake(tmp_path / "total-dos", pa.table(rows))
    client = DosRester.__new__(DosRester)
    client._query_builder = None

    table = DeltaTable(tmp_path / "total-dos")
    client.query_builder.register("total_dos", table)

    def local(bucket: str, prefix: str, label: str) -> tuple[str, DeltaTable]:
        assert (bucket, prefix) == ("materialsproject-parsed", "core/electronic-structure/total-dos/")
        return label, table

    monkeypatch.setattr(client, "_get_delta_table", local)
    rester = mp()
    monkeypatch.setattr(rester, "get_dos_from_task_id", client.get_dos_from_task_id)
    store, report = _gather(tmp_path, a="mp:mp-1000", b="mp:mp-1001", c="mp:mp-1002")
    assert _arrays(store, "a")["down"].tolist() == [0.0, 3.0, 1.0, 0.0, 0.0]
    assert set(_arrays(store, "b")) == {"energies", "total"}
    assert _efermi(store, "b") == 0.5
    assert "no density of states of mp-1002" in report.stats["c"]["note"]
