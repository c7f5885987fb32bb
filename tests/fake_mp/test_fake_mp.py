"""The fake must behave like the real thing: everything here asks it with the real clients."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from mp_api.client import MPRester
from mp_api.client.core import MPRestError
from pymatgen.electronic_structure.core import Spin
from pymatgen.io.vasp import Chgcar

from fake_mp import FakeMaterialsProject, Fault, plan_faults
from fake_mp.api import number_of
from fake_mp.faults import OBJECT, STATUS
from fake_mp.world import Material

BUCKET = "materialsproject-parsed"
FOURIER = 1e-5  # electrons; what rounding to 8 digits and back may cost


@pytest.fixture
def client(fake_mp: FakeMaterialsProject) -> Iterator[MPRester]:
    with MPRester(mute_progress_bars=True) as client:
        yield client


@pytest.fixture
def s3(fake_mp: FakeMaterialsProject) -> Any:
    config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}, read_timeout=1)
    return boto3.client("s3", config=config)


def visible(mp: FakeMaterialsProject) -> list[Material]:
    return [material for material in mp.materials if material.visible]


def some(mp: FakeMaterialsProject, role: str = "plain") -> Material:
    return next(material for material in mp.materials if material.role == role)


def dense(mp: FakeMaterialsProject) -> tuple[Material, str]:
    """A material with a density, and its object's key."""
    return next((m, task.key) for m in visible(mp) if (task := m.expected().task))


def get(s3: Any, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


# ---------------------------------------------------------------------------------------------------- the REST API


def test_client_starts_without_a_warning_and_knows_the_database(client: MPRester) -> None:
    assert client.db_version == "2026.11.1"
    assert client.materials.summary.access_controlled_batch_ids == ["gnome_r2scan_statics"]


def test_pages_bring_each_visible_material_once(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    found = client.materials.summary.search(deprecated=False, fields=["material_id"], chunk_size=30)
    assert sorted(str(document.material_id) for document in found) == sorted(m.id for m in visible(fake_mp))
    pages = [entry for entry in fake_mp.log() if entry["path"] == "/materials/summary/"]
    assert len(pages) == -(-len(found) // 30)


def has(*elements: str) -> Callable[[Material], bool]:
    return lambda material: set(elements) <= {element.symbol for element in material.structure.composition.elements}


SELECTIONS: dict[str, tuple[dict[str, Any], Callable[[Material], bool]]] = {
    "stable": ({"is_stable": True}, lambda m: m.stable),
    "hull": ({"energy_above_hull": (0.05, 0.2)}, lambda m: 0.05 <= m.properties["energy_above_hull"] <= 0.2),
    "space group": ({"spacegroup_number": 225}, lambda m: m.space_group == 225),
    "space groups": ({"spacegroup_number": [216, 221]}, lambda m: m.space_group in (216, 221)),
    "crystal system": ({"crystal_system": "Tetragonal"}, lambda m: 75 <= m.space_group <= 142),
    "elements": ({"elements": ["Mg", "O"]}, has("Mg", "O")),
    "exclude": ({"exclude_elements": ["Ti", "Cu"]}, lambda m: not has("Ti")(m) and not has("Cu")(m)),
    "nelements": ({"num_elements": (3, 4)}, lambda m: len(m.structure.composition) in (3, 4)),
    "density": (
        {"has_props": ["charge_density", "elasticity"]},
        lambda m: m.role not in NO_STATICS and bool(m.elastic),
    ),
    "bulk modulus": ({"k_vrh": (100, 150)}, lambda m: m.elastic is not None and 100 <= bulk(m) <= 150),
    "band gap from": ({"band_gap": (2.0, None)}, lambda m: m.properties["band_gap"] >= 2),
    "magnetisation": ({"total_magnetization": (0.5, 100)}, lambda m: m.properties["total_magnetization"] >= 0.5),
}
NO_STATICS = ("no_static", "no_object")


def bulk(material: Material) -> float:
    assert material.elastic is not None
    return (material.elastic["c11"] + 2 * material.elastic["c12"]) / 3


@pytest.mark.parametrize("name", SELECTIONS)
def test_selection_brings_what_fits_and_nothing_else(
    name: str, client: MPRester, fake_mp: FakeMaterialsProject
) -> None:
    query, fits = SELECTIONS[name]
    found = client.materials.summary.search(**query, fields=["material_id"])
    wanted = [material.id for material in visible(fake_mp) if fits(material)]
    assert 0 < len(wanted) < len(visible(fake_mp))
    assert sorted(str(document.material_id) for document in found) == sorted(wanted)


def test_summary_holds_the_scalar_properties(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    material = next(m for m in visible(fake_mp) if m.elastic and m.crystal.spin)
    (document,) = client.materials.summary.search(material_ids=[material.id])
    for key, value in material.properties.items():
        assert getattr(document, key) == pytest.approx(value), key
    assert document.volume == pytest.approx(material.structure.volume)
    assert document.bulk_modulus["vrh"] == pytest.approx(bulk(material))
    assert document.homogeneous_poisson == pytest.approx(
        (3 * bulk(material) - 2 * document.shear_modulus["vrh"])
        / (6 * bulk(material) + 2 * document.shear_modulus["vrh"])
    )
    assert document.structure.composition == material.structure.composition
    assert document.symmetry.number == material.space_group


def test_deprecated_documents_only_on_request_and_controlled_ones_never(
    client: MPRester, fake_mp: FakeMaterialsProject
) -> None:
    found = client.materials.summary.search(deprecated=True, fields=["material_id"])
    assert {str(document.material_id) for document in found} == {
        material.id for material in fake_mp.materials if material.role == "deprecated"
    }
    assert not client.materials.summary.search(material_ids=[some(fake_mp, "no_access").id])


@pytest.mark.parametrize("ids", ["alpha", "legacy"])
def test_raw_ids_are_written_in_one_of_two_ways(ids: str) -> None:
    with FakeMaterialsProject(n=4, ids=ids) as mp:  # type: ignore[arg-type]
        answer = requests.get(
            f"{mp.endpoint}materials/core/", {"_all_fields": True}, headers={"x-api-key": mp.api_key}
        )
    for document in answer.json()["data"]:
        material = mp[document["material_id"]]
        assert document["material_id"] == (material.alpha if ids == "alpha" else material.id)
        assert list(document["calc_types"]) == [
            task.alpha if ids == "alpha" else task_name(task) for task in material.tasks
        ]


def task_name(task: Any) -> str:
    return f"mp-{task.number}"


@pytest.mark.parametrize("spelling", ["mp-149", "149", "ft", "aaaaaaft", "mp-aaaaaaft"])
def test_number_of_reads_every_spelling(spelling: str) -> None:
    assert number_of(spelling) == 149


@pytest.mark.parametrize(("key", "words"), [(None, "No API key found"), ("x" * 32, "Invalid authentication")])
def test_bad_key_is_refused_as_the_gateway_does(key: str | None, words: str, fake_mp: FakeMaterialsProject) -> None:
    headers = {"x-api-key": key} if key else {}
    answer = requests.get(f"{fake_mp.endpoint}materials/summary/", headers=headers)
    assert (answer.status_code, words in answer.json()["message"]) == (401, True)


def test_wrong_key_is_an_error_of_the_client(fake_mp: FakeMaterialsProject) -> None:
    with MPRester("y" * 32, mute_progress_bars=True) as client, pytest.raises(MPRestError, match="401"):
        client.materials.summary.search(is_stable=True, fields=["material_id"])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"is_magnetic": "true"}, 400),  # to be read, not to be asked for
        ({"_limit": 1001}, 400),
        ({"_skip": -1}, 400),
        ({"spacegroup_number": "216,225"}, 422),
        ({"is_stable": "perhaps"}, 422),
        ({"exclude_elements": ",".join(["Ti"] * 21)}, 422),
        ({"material_ids": ",".join(["mp-1"] * 1001)}, 422),
    ],
)
def test_query_out_of_bounds_is_refused(query: dict[str, Any], status: int, fake_mp: FakeMaterialsProject) -> None:
    answer = requests.get(f"{fake_mp.endpoint}materials/summary/", query, headers={"x-api-key": fake_mp.api_key})
    assert answer.status_code == status
    assert "detail" in answer.json()


def test_client_splits_a_list_that_is_too_long(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    ids = [f"mp-{number}" for number in range(100001, 101101)]
    found = client.materials.summary.search(material_ids=ids, fields=["material_id"])
    assert {str(document.material_id) for document in found} == {
        material.id for material in visible(fake_mp) if material.number < 200000
    }
    assert 422 in {entry["status"] for entry in fake_mp.log()}


def test_texts_and_elastic_tensors(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    material = next(m for m in visible(fake_mp) if m.elastic and m.text)
    (text,) = client.materials.robocrys.search_docs(material_ids=[material.id])
    assert text.description == material.text
    (document,) = client.materials.elasticity.search(material_ids=[material.id])
    tensor = np.array(document.elastic_tensor.ieee_format)
    assert tensor.shape == (6, 6)
    assert tensor[0, 0] == pytest.approx(material.elastic["c11"])
    without = next(m for m in visible(fake_mp) if not m.elastic)
    assert client.materials.elasticity.search(material_ids=[without.id]) == []


# ------------------------------------------------------------------------------------------------------- densities


@pytest.mark.parametrize("role", ["plain", "new_id"])
def test_client_gets_the_newest_static_density(role: str, client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    material = some(fake_mp, role)
    task = fake_mp.expected(material.id).task
    density = client.get_charge_density_from_material_id(material.id)
    assert isinstance(density, Chgcar)
    assert density.dim == (task.grid,) * 3
    assert density.data["total"].mean() == pytest.approx(material.crystal.electrons, abs=FOURIER)
    assert fake_mp.fetched() == {task.key: 1}


@pytest.mark.parametrize("role", ["no_static", "only_r2scan", "no_task_documents"])
def test_client_returns_none_without_a_static_task(
    role: str, client: MPRester, fake_mp: FakeMaterialsProject
) -> None:
    material = some(fake_mp, role)
    assert fake_mp.expected(material.id).task is None
    assert client.get_charge_density_from_material_id(material.id) is None


@pytest.mark.parametrize(("role", "older"), [("no_object", False), ("newest_missing", True)])
def test_client_raises_where_the_object_is_missing(
    role: str, older: bool, client: MPRester, fake_mp: FakeMaterialsProject
) -> None:
    expected = fake_mp.expected(some(fake_mp, role).id)
    assert (bool(expected.task), bool(expected.skipped)) == (older, True)
    with pytest.raises(MPRestError, match="No object found"):
        client.get_charge_density_from_material_id(some(fake_mp, role).id)


def test_every_newest_density_lies_in_the_bucket(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="chgcars/")
    keys = {entry["Key"] for page in pages for entry in page["Contents"]}
    wanted = {task.key for material in fake_mp.materials if (task := material.expected().task)}
    assert len(wanted) > 150
    assert wanted <= keys


def test_all_electron_densities_hold_every_electron(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    material, key = dense(fake_mp)
    parts = []
    for kind in ("aeccar0s", "aeccar2s"):
        document = json.loads(gzip.decompress(get(s3, key.replace("chgcars", kind))))
        parts.append(np.array(document["data"]["data"]["total"]["data"]).mean())
    nuclei = sum(site.specie.Z for site in material.structure)
    assert sum(parts) == pytest.approx(nuclei, abs=FOURIER)
    assert parts[1] == pytest.approx(material.crystal.electrons, abs=FOURIER)


def test_magnetic_density_has_its_spin(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    material = next(m for m in visible(fake_mp) if m.crystal.spin and m.expected().task)
    data = json.loads(gzip.decompress(get(s3, material.expected().task.key)))["data"]["data"]
    moment = np.array(data["diff"]["data"]).mean()
    assert moment == pytest.approx(material.crystal.properties["total_magnetization_muB"], abs=0.05)


def test_envelope_is_that_of_a_real_object(s3: Any, fake_mp: FakeMaterialsProject, shared_data: Path) -> None:
    material = next(m for m in visible(fake_mp) if m.crystal.spin and m.expected().task)
    ours = json.loads(gzip.decompress(get(s3, material.expected().task.key)))
    with gzip.open(shared_data / "materials_project" / "mp-2680643.json.gz") as file:
        real = json.load(file)
    assert set(ours) == set(real)
    for path in (
        ("data",),
        ("data", "data"),
        ("data", "data", "total"),
        ("data", "poscar"),
        ("data", "poscar", "structure"),
    ):
        one, other = ours, real
        for name in path:
            one, other = one[name], other[name]
        # newer pymatgen writes a structure's properties too
        assert set(other) <= set(one) <= set(other) | {"properties"}, path


def test_density_of_states_comes_through_the_real_delta_reader(
    client: MPRester, fake_mp: FakeMaterialsProject
) -> None:
    material = next(m for m in visible(fake_mp) if m.dos_task and m.crystal.spin)
    dos = client.materials.electronic_structure_dos.get_dos_from_material_id(material.id)
    np.testing.assert_allclose(dos.energies, material.crystal.energies)
    np.testing.assert_allclose([dos.densities[Spin.up], dos.densities[Spin.down]], material.crystal.dos)
    assert dos.efermi == pytest.approx(material.properties["efermi"])


# ---------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("kind", [*STATUS, "slow", "reset", "short"])
def test_transient_fault_fails_twice_then_passes(kind: str, s3: Any, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault(kind, times=2)})
    for _ in range(2):
        with pytest.raises((ClientError, BotoCoreError)):
            get(s3, key)
    assert get(s3, key) == fake_mp.object(key)
    assert fake_mp.happened() == {(key, kind): 2}
    assert fake_mp.fetched() == {key: 1}


@pytest.mark.parametrize("kind", ["429", "503"])
def test_refusal_says_when_to_come_back(kind: str, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault(kind, retry_after=7)})
    assert requests.get(f"{fake_mp.s3_endpoint}/{BUCKET}/{key}").headers["Retry-After"] == "7"


def test_corrupt_bytes_keep_their_size_and_etag(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    whole = s3.head_object(Bucket=BUCKET, Key=key)
    fake_mp.order({key: Fault("corrupt")})
    answer = s3.get_object(Bucket=BUCKET, Key=key)
    body = answer["Body"].read()
    assert (len(body), answer["ETag"]) == (whole["ContentLength"], whole["ETag"])
    assert body != fake_mp.object(key)


def rotten_json(body: bytes) -> Any:
    return json.loads(gzip.decompress(body))


def unreadable(body: bytes) -> bool:
    try:
        rotten_json(body)
    except (EOFError, ValueError):
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("truncated_gzip", unreadable),
        ("not_gzip", lambda body: json.loads(body)["data"]["@class"] == "Chgcar"),
        ("null", lambda body: rotten_json(body) is None),
        ("data_null", lambda body: rotten_json(body)["data"] is None),
        ("wrong_json", unreadable),
        ("replaced", lambda body: rotten_json(body)["data"]["@class"] == "Chgcar"),
    ],
)
def test_rotten_object_is_as_rotten_to_head(
    kind: str, sign: Callable[[bytes], Any], s3: Any, fake_mp: FakeMaterialsProject
) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault(kind, times=None)})
    head = s3.head_object(Bucket=BUCKET, Key=key)
    answer = s3.get_object(Bucket=BUCKET, Key=key)
    body = answer["Body"].read()
    assert (head["ContentLength"], head["ETag"]) == (len(body), answer["ETag"])
    assert body != fake_mp.object(key)
    assert sign(body)


def test_absent_object_is_absent_to_head_and_get(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    material, key = dense(fake_mp)
    fake_mp.order({key: Fault("absent", times=None)})
    for ask in (s3.head_object, s3.get_object):
        with pytest.raises(ClientError, match=r"404|NoSuchKey"):
            ask(Bucket=BUCKET, Key=key)
    assert key in {task.key for task in fake_mp.expected(material.id).skipped}


def test_object_uploaded_in_parts_has_another_kind_of_etag(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault("multipart", times=None)})
    assert s3.head_object(Bucket=BUCKET, Key=key)["ETag"].endswith('-2"')
    assert get(s3, key) == fake_mp.object(key)


def test_range_of_an_altered_object_is_served(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault("multipart", times=None)})
    answer = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=10-19")
    assert answer["Body"].read() == fake_mp.object(key)[10:20]


def test_fault_may_come_later(s3: Any, fake_mp: FakeMaterialsProject) -> None:
    _, key = dense(fake_mp)
    fake_mp.order({key: Fault("500", after=1)})
    assert get(s3, key) == fake_mp.object(key)
    with pytest.raises(ClientError):
        get(s3, key)


@pytest.mark.parametrize("kind", ["429", "502", "503"])
def test_client_itself_repeats_what_it_is_made_to(kind: str, client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({"/materials/summary/": Fault(kind, times=2, retry_after=0)})
    found = client.materials.summary.search(is_stable=True, fields=["material_id"])
    assert len(found) == sum(material.stable for material in visible(fake_mp))
    assert fake_mp.happened() == {("/materials/summary/", kind): 2}


@pytest.mark.parametrize("kind", ["500", "403", "reset", "short", "wrong_json"])
def test_client_gives_up_on_other_faults(kind: str, client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({"/materials/summary/": Fault(kind, times=1)})
    with pytest.raises((MPRestError, ValueError)):
        client.materials.summary.search(is_stable=True, fields=["material_id"])
    assert client.materials.summary.search(is_stable=True, fields=["material_id"])


def test_page_that_comes_twice_repeats_materials(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({"/materials/summary/?_skip=40": Fault("twice")})
    found = client.materials.summary.search(is_stable=True, fields=["material_id"], chunk_size=40)
    ids = [str(document.material_id) for document in found]
    assert len(ids) - len(set(ids)) == 40


def test_empty_page_ends_the_clients_paging_without_a_word(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({"/materials/summary/?_skip=40": Fault("empty")})
    found = client.materials.summary.search(is_stable=True, fields=["material_id"], chunk_size=40)
    assert len(found) == 40


def test_slow_api_answers_after_its_pause(fake_mp: FakeMaterialsProject) -> None:
    fake_mp.order({"/heartbeat": Fault("slow")})
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{fake_mp.endpoint}heartbeat", timeout=0.5)
    assert requests.get(f"{fake_mp.endpoint}heartbeat", timeout=0.5).json()["db_version"]


def test_plan_is_the_same_for_the_same_seed_and_has_every_kind(fake_mp: FakeMaterialsProject) -> None:
    plan = plan_faults(fake_mp.materials, 0.1, seed=3)
    assert plan == plan_faults(fake_mp.materials, 0.1, seed=3)
    assert set(plan) != set(plan_faults(fake_mp.materials, 0.1, seed=4))
    n_dense = sum(bool(material.expected().task) for material in visible(fake_mp))
    assert len(plan) == round(0.1 * n_dense)
    lasting = {fault.kind for fault in plan.values() if fault.times is None}
    assert lasting == {"absent", "truncated_gzip", "null", "data_null", "wrong_json", "500"}
    assert lasting - {"500"} <= set(OBJECT)
    passing = {fault.kind for fault in plan.values() if fault.times}
    assert passing == {"429", "500", "503", "slow", "reset", "short", "corrupt"}


def test_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault 'earthquake'; known: 429"):
        Fault("earthquake")


def test_many_connections_at_once_get_sound_objects_in_spite_of_faults(fake_mp: FakeMaterialsProject) -> None:
    keys = [task.key for material in visible(fake_mp) if (task := material.expected().task)]
    fake_mp.order(
        {key: Fault(kind) for key, kind in zip(keys, itertools.cycle(("500", "reset", "short")), strict=False)}
    )
    config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 3}, max_pool_connections=12)
    s3 = boto3.client("s3", config=config)

    def fetch(key: str) -> bytes:
        for _ in range(3):
            with contextlib.suppress(ClientError, BotoCoreError):
                return get(s3, key)
        return b""

    with ThreadPoolExecutor(12) as threads:
        fetched = dict(zip(keys, threads.map(fetch, keys), strict=True))
    assert fetched == {key: fake_mp.object(key) for key in keys}
    assert fake_mp.fetched() == dict.fromkeys(keys, 1)
    assert sum(fake_mp.happened().values()) == len(keys)


# ------------------------------------------------------------------------------------------------------ the process


def test_log_never_holds_the_key(client: MPRester, fake_mp: FakeMaterialsProject) -> None:
    client.materials.summary.search(is_stable=True, fields=["material_id"], num_chunks=1)
    assert fake_mp.log()
    assert fake_mp.api_key not in json.dumps(fake_mp.log())


def test_same_seed_makes_the_same_materials() -> None:
    from fake_mp.world import make_world

    first, second = make_world(30, 5), make_world(30, 5)
    assert [(m.id, m.role, m.properties, m.tasks) for m in first] == [
        (m.id, m.role, m.properties, m.tasks) for m in second
    ]
    assert [m.id for m in first] != [m.id for m in make_world(30, 6)]
