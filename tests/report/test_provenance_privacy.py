"""Secrets are found in whatever is published, and folders of this machine are cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from rhoflow.errors import StudyError
from rhoflow.report.provenance_privacy import check_secrets, public_settings

VALUE = "sk-0123456789"


@pytest.mark.parametrize("name", ["MP_API_KEY", "HF_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "MY_CREDENTIALS"])
def test_value_of_a_secret_variable_is_found(tmp_path: Path, name: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(b"\x00" + VALUE.encode() + b"\x00")
    with pytest.raises(StudyError, match=name) as told:
        check_secrets([file], {name: VALUE})
    assert VALUE not in str(told.value)


@pytest.mark.parametrize("environment", [{"SHELL": VALUE}, {"MP_API_KEY": "short"}, {"MP_API_KEY": VALUE + "x"}, {}])
def test_other_variables_are_no_secrets(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"{VALUE} short")
    check_secrets([file], environment)


def test_absolute_paths_are_cut_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "source": {"path": "/home/alice/crystals", "ids": ["mp-1", 2, None]},
        "image": {"weights": "hf:timm/x", "own": f"{tmp_path}/weights/x"},
        "home": "~/data/list.csv",
    }
    assert public_settings(settings) == {
        "source": {"path": ".../crystals", "ids": ["mp-1", 2, None]},
        "image": {"weights": "hf:timm/x", "own": "weights/x"},
        "home": ".../list.csv",
    }
