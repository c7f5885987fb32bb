"""What is said of the code that ran: commit, and everything that differs from it, new files too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rhoflow.report import provenance
from rhoflow.report.provenance_code import describe_code, uncommitted, untracked


def git(project: Path, *arguments: str) -> None:
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(project), *author, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A committed workflow of two files, and a document."""
    for name in ("src/rhoflow/a.py", "workflow/scripts/grids.py", "docs/index.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("first = 1\n")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_committed_code_has_no_difference(checkout: Path) -> None:
    (checkout / "docs/new.md").write_text("a document decides no number\n")
    (checkout / "src/__pycache__").mkdir()
    (checkout / "src/__pycache__/a.pyc").write_bytes(b"ignored")
    found = describe_code(checkout)
    assert (uncommitted(checkout), found["uncommitted"]) == ("", None)
    assert found["commit"].startswith(provenance._git_describe(checkout))


def test_new_file_is_an_uncommitted_change_with_its_content(checkout: Path) -> None:
    new = checkout / "src/rhoflow/a new one.py"
    new.write_text("second = 2\n")
    assert untracked(checkout) == ["src/rhoflow/a new one.py"]
    assert "+second = 2" in uncommitted(checkout)
    assert str(checkout) not in uncommitted(checkout)
    first = describe_code(checkout)["uncommitted"]
    new.write_text("second = 3\n")
    assert describe_code(checkout)["uncommitted"] not in {None, first}
    assert str(provenance._git_describe(checkout)).endswith("-dirty")


def test_changed_and_new_files_stand_together(checkout: Path) -> None:
    (checkout / "src/rhoflow/a.py").write_text("first = 7\n")
    (checkout / "src/rhoflow/b.py").write_text("second = 2\n")
    for told in ("-first = 1", "+first = 7", "+second = 2"):
        assert told in uncommitted(checkout)
    assert str(provenance._git_describe(checkout)).count("-dirty") == 1


@pytest.mark.parametrize("content", [b"\x00binary 1", "caf\u00e9 1".encode("latin-1")])
def test_content_that_is_no_text_counts(checkout: Path, content: bytes) -> None:
    new = checkout / "src/rhoflow/table.npz"
    new.write_bytes(content)
    first = uncommitted(checkout)
    new.write_bytes(content.replace(b"1", b"2"))
    assert uncommitted(checkout) not in {"", first}
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "second")
    second = uncommitted(checkout)
    new.write_bytes(content)
    assert second == ""
    assert uncommitted(checkout) != ""


def test_without_git_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    assert (uncommitted(tmp_path), untracked(tmp_path), describe_code(tmp_path)["commit"]) == ("", [], None)


def test_patch_applies(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (checkout / "src/rhoflow/a.py").write_text("first = 7\n")
    (checkout / "src/rhoflow/b.py").write_text("second = 2\n")
    patch = tmp_path_factory.mktemp("patch") / "uncommitted.diff"
    patch.write_text(uncommitted(checkout))
    git(checkout, "checkout", "-q", "--", ".")
    (checkout / "src/rhoflow/b.py").unlink()
    git(checkout, "apply", str(patch))
    assert (checkout / "src/rhoflow/a.py").read_text() == "first = 7\n"
    assert (checkout / "src/rhoflow/b.py").read_text() == "second = 2\n"
