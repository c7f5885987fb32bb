"""What comes from outside is not believed: the threats of docs/security.md that no room's own tests hold."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import lzma
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from vasp_text import NACL, chgcar_text, waves

from rhoflow.config import load_study, read_study_file
from rhoflow.density.read import read_density
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials import unpack as u
from rhoflow.materials.ids import check_id
from rhoflow.materials.spreadsheet import spreadsheet_safe
from rhoflow.sources.runs import read_run

GOOD = chgcar_text(NACL, [waves((6, 5, 7), 8)])
MIB = 2**20
PACK = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
EACH = pytest.mark.parametrize("pack", PACK.values(), ids=list(PACK))


@contextmanager
def memory_below(n_bytes: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


# Names


@settings(max_examples=50)
@given(st.text(max_size=120))
def test_accepted_id_names_a_file_in_its_folder(material_id: str) -> None:
    try:
        check_id(material_id)
    except RejectedMaterialError:
        return
    folder = Path("/results/study/store")
    assert (folder / material_id).parent == folder
    assert (folder / material_id).resolve().parent == folder.resolve()
    assert not material_id.startswith((".", "-", "="))


# Packed files


@pytest.fixture
def small_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(u, "ALWAYS", MIB // 4)


@EACH
def test_bomb_is_refused_before_it_fills_the_memory(
    pack: Callable[[bytes], bytes], tmp_path: Path, small_allowance: None
) -> None:
    bomb = pack(bytes(32 * MIB))  # shrinks by 1000 and more
    path = tmp_path / "CHGCAR"
    path.write_bytes(bomb)
    memory = 2 * u.most_unpacked(len(bomb)) + 12 * MIB  # of which xz takes 8 for its dictionary
    assert memory < 30 * MIB
    with memory_below(memory), pytest.raises(RejectedMaterialError, match="which no density or run does"):
        read_density(path)


def test_many_small_bombs_in_a_row_are_one_bomb(tmp_path: Path, small_allowance: None) -> None:
    one = gzip.compress(bytes(MIB // 8))
    assert len(u.unpack(one, tmp_path)) == MIB // 8
    with pytest.raises(RejectedMaterialError, match="unpack to more than"):
        u.unpack(one * 100, tmp_path)


@EACH
def test_packed_density_reads_as_the_plain_one(
    pack: Callable[[bytes], bytes], tmp_path: Path, small_allowance: None
) -> None:
    half = len(GOOD) // 2
    packed, plain = tmp_path / "packed", tmp_path / "plain"
    packed.write_bytes(pack(GOOD[:half]) + pack(GOOD[half:]))  # joined, as the packers allow
    plain.write_bytes(GOOD)
    np.testing.assert_array_equal(read_density(packed).total, read_density(plain).total)


def test_allowance_is_nine_times_what_the_densities_at_hand_need(demo: Path) -> None:
    largest = max(len(lzma.decompress(file.read_bytes())) / file.stat().st_size for file in demo.glob("Mg2*/*.xz"))
    assert 15 < largest < 25
    assert 8 * largest < u.MOST_TIMES < 16 * largest


@EACH
def test_bomb_of_a_run_is_refused_while_it_streams(
    pack: Callable[[bytes], bytes], tmp_path: Path, small_allowance: None
) -> None:
    suffix = next(key for key, value in PACK.items() if value is pack)
    path = tmp_path / f"OUTCAR.{suffix}"
    bomb = pack(b"a line of a run\n" * (MIB // 4))
    path.write_bytes(bomb)
    with pytest.raises(RejectedMaterialError, match="which no density or run does"):
        read_run(path)


# Numbers that a file declares

HUGE = "10000 10000 10000"  # 10^12 points, 8 TB


def test_chgcar_with_a_huge_grid_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "CHGCAR"
    path.write_bytes(GOOD.replace(b"6    5    7", HUGE.encode(), 1))
    assert HUGE.encode() in path.read_bytes()
    with memory_below(8 * MIB), pytest.raises(RejectedMaterialError, match="for 1000000000000 values"):
        read_density(path)


def test_cube_with_a_huge_grid_allocates_nothing(tmp_path: Path) -> None:
    axes = "10000 0.0005 0 0\n10000 0 0.0005 0\n10000 0 0 0.0005\n"
    path = tmp_path / "x.cube"
    path.write_text(f"a\nb\n1 0 0 0\n{axes}2 2.0 0 0 0\n1.0 1.0 1.0\n")
    with memory_below(8 * MIB), pytest.raises(RejectedMaterialError, match="for 1000000000000 values") as refused:
        read_density(path)
    assert refused.value.reason is Reason.TRUNCATED


# Configuration


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['touch planted']", "!!python/name:os.system", "!!python/object/new:os.x []"],
)
def test_tag_in_a_study_runs_nothing(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study.yaml"
    study.write_text(f"study: {value}\n")
    with pytest.raises(StudyError, match=r"no YAML of plain values .* tags such as !!python"):
        read_study_file(study)
    # Snakemake reads the same file with a loader of its own: what gets through it is no valid study.
    with pytest.raises((WorkflowError, StudyError)):
        load_study(load_configfile(study))
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("content", "says"), [(b"- a\n", "holds a list"), (b"a: [", "no YAML"), (b"\xff", "cannot be read")]
)
def test_file_that_is_no_study_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "study.yaml").write_bytes(content)
    with pytest.raises(StudyError, match=says):
        read_study_file(tmp_path / "study.yaml")


# Spreadsheets


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_text_that_a_spreadsheet_would_compute_is_marked(cell: str) -> None:
    table = pd.DataFrame({"material_id": [cell, "NaCl"], "value": [-1.5, 2.0]})
    written = spreadsheet_safe(table).to_csv(index=False)
    read = pd.read_csv(io.StringIO(written))
    assert read["material_id"].tolist() == ["'" + cell.replace("\r", " "), "NaCl"]
    assert read["value"].tolist() == [-1.5, 2.0]


@pytest.mark.parametrize("cell", ["-1.5", "+2", "-1e-3", "NaCl", "", "a=b", None, float("nan")])
def test_numbers_and_plain_text_stay_as_they_are(cell: object) -> None:
    table = pd.DataFrame({"x": [cell, "y"]})
    pd.testing.assert_frame_equal(spreadsheet_safe(table), table)


# Tables of our own numbers, and the published list, which machines read back and whose ids are checked.
UNMARKED = {"training/pack.py", "sources/publish.py"}


def unmarked_tables(path: Path) -> list[str]:
    """Calls that write a CSV table without marking its texts."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    written = [
        node.func.value for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "to_csv"
    ]
    return [ast.unparse(table) for table in written if not ast.unparse(table).startswith("spreadsheet_safe(")]


def test_tables_with_text_from_outside_are_marked(project: Path) -> None:
    package = project / "src/rhoflow"
    found = {file.relative_to(package).as_posix(): unmarked_tables(file) for file in package.rglob("*.py")}
    assert {file for file, calls in found.items() if calls} == UNMARKED


# Shell commands

# Paths: made of the names that a study gives (all tried below), of words from closed lists, and of numbers.
PATHS = {"log", "input", "output", "wildcards"}
# Never text of a user or a file either: paths such as these, numbers, and options of our own.
PLAIN = {
    "params": {
        *("root", "scratch", "runs", "shards", "level", "levels", "keep", "snapshot", "given", "frozen", "searched"),
        *("series", "logs", "images", "texts", "folds"),
    },
    "resources": {"download", "at_once", "targets", "trained"},
}
WILDCARDS = {"shard", "images", "target", "level", "fold", "seed", "model"}


@pytest.fixture(scope="module")
def commands(project: Path) -> list[str]:
    """What stands after `shell:` in each rule."""
    rules = "".join(file.read_text() for file in sorted((project / "rules").glob("*.smk")))
    found = re.findall(r"^ +shell:\n((?:^ +[\"'].*\n)+)", rules, re.M)
    assert len(found) == len(re.findall(r"^ +shell:", rules, re.M)) > 15
    return found


def test_data_in_shell_commands_is_quoted(commands: list[str]) -> None:
    for command in commands:
        for what in re.findall(r"\{([^{}]*)\}", command):
            first, _, name = what.partition(".")
            fine = what.endswith(":q") or first in PATHS or name in PLAIN.get(first, ())
            assert fine, f"{{{what}}} needs :q in {command}"
        # The project may lie in a folder with a space.
        assert re.findall(r"\$\w+", command) == re.findall(r'(?<=")\$RHOFLOW_SCRIPTS(?=")', command), command


def test_wildcards_come_from_closed_lists(project: Path, commands: list[str]) -> None:
    assert {name for command in commands for name in re.findall(r"\{wildcards\.(\w+)\}", command)} <= WILDCARDS
    rules = {file.stem: file.read_text() for file in (project / "rules").glob("*.smk")}
    everywhere = re.search(r"^wildcard_constraints:\n((?: .*\n)+)", rules.pop("common"), re.M)[1]
    assert set(re.findall(r"^    (\w+)=", everywhere, re.M)) == WILDCARDS - {"model"}
    for name, value in re.findall(r"^    (\w+)=(.*),$", everywhere, re.M):
        assert value.startswith(('"|".join(STUDY.', 'r"\\d')), name
    for name, text in rules.items():  # the networks that a rule trains differ from rule to rule
        models = len(re.findall(r"^ +model=", text, re.M))
        assert models == sum("{wildcards.model}" in command for command in commands if command in text), name


# Names that a study gives, and how they come to stand in paths.
NAMES: dict[str, Callable[[str], dict[str, object]]] = {
    "study": lambda name: {"study": name},
    "dataset_version": lambda name: {"dataset_version": name},
    "targets": lambda name: {"targets": [name]},
    "properties": lambda name: {"properties": {name: {"label": "x"}}, "targets": [name]},
    "levels": lambda name: {"levels": [name]},
    "models": lambda name: {"models": [name]},
    "baselines": lambda name: {"baselines": [name]},
    "images": lambda name: {"ablation": {"images": {name: {"field": "spin"}}}},
}


@pytest.mark.parametrize(
    "name", ["a b", "a;b", "$(x)", "`x`", "a'b", "../x", "-x", "a\nb", "a|b", "a\n", "a{b}", "~"]
)
@pytest.mark.parametrize("key", NAMES)
def test_names_of_a_study_are_safe_in_paths_and_commands(key: str, name: str) -> None:
    with pytest.raises(StudyError, match=key):
        load_study(NAMES[key](name))


# Pickles


# Taken by a bare name, a call of these would not be seen.
BY_BARE_NAME = {("os", "system"), ("os", "popen"), ("torch", "load"), ("numpy", "load"), ("yaml", "load")}


def unpickling_calls(path: Path) -> Iterator[str]:
    """Calls that could run what a file says."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            for name in names:
                if name.split(".")[0] in {"joblib", "cloudpickle", "dill", "shelve", "marshal"}:
                    yield f"import {name}"
            taken = {(getattr(node, "module", None), alias.name) for alias in node.names}
            if getattr(node, "module", None) == "pickle" or taken & BY_BARE_NAME:
                yield ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle" and "Error" not in node.attr:
            yield ast.unparse(node)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        call = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        safe = {
            "torch.load": options.get("weights_only") == "True",
            **{f"{name}.load": options.get("allow_pickle", "False") == "False" for name in ("np", "numpy")},
            **{f"{name}.savez": options.get("allow_pickle", "False") == "False" for name in ("np", "numpy")},
            **dict.fromkeys(("pd.read_pickle", "pandas.read_pickle", "os.system", "os.popen"), False),
            "yaml.load": False,
            "yaml.full_load": False,
            "yaml.unsafe_load": False,
        }
        if not safe.get(call, True):
            yield ast.unparse(node)
        if options.get("trust_remote_code") not in {None, "False"} or options.get("shell") == "True":
            yield ast.unparse(node)


def test_nothing_is_unpickled_or_handed_to_a_shell(project: Path) -> None:
    files = [*(project / "src").rglob("*.py"), *(project / "workflow").rglob("*.py")]
    assert len(files) > 100
    assert {str(file): found for file in files if (found := list(unpickling_calls(file)))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(f)",
        "from pickle import loads",
        "from joblib import load",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
    ]
    + [
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "x.run('ls', shell=True)",
        "os.system('ls')",
        "os.popen('ls')",
        "from os import system",
        "from torch import load",
        "numpy.load(f, allow_pickle=True)",
        "pandas.read_pickle(f)",
        "M.load(f, trust_remote_code=True)",
    ],
)
def test_search_for_pickles_finds_them(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(line)
    assert list(unpickling_calls(tmp_path / "x.py"))


def test_template_language_of_snakemake_is_named_by_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("__use_yte__: true\nstudy: ?open('planted', 'w') and 'x'\n")
    with pytest.raises(StudyError, match="__use_yte__: unknown key"):
        read_study_file(tmp_path / "study.yaml")
