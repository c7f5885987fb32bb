"""No setting holds a secret: it is refused wherever it stands, and never repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rhoflow.config import Study, load_study, read_study_file
from rhoflow.config.secrets import refuse_secrets, secret_values, without_secrets
from rhoflow.errors import StudyError

SECRET = "planted 7c1f8e & <more>"
KEY = "sk-planted0123456789ab"


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(config, dict) and config:
        for key, value in config.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: nested(path[1:], value) if path[1:] else value}


@pytest.mark.parametrize("planted", [SECRET, [SECRET], f"https://example.org/{SECRET}/v1", KEY], ids=str)
def test_secret_is_refused_at_every_key_and_not_repeated(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    paths = list(leaves(Study().model_dump(mode="json")))
    assert len(paths) > 100
    for path in paths:
        with pytest.raises(StudyError) as told:
            load_study(nested(path, planted))
        assert SECRET not in str(told.value)
        assert KEY not in str(told.value)
        assert ".".join(path) in str(told.value)


def test_variable_that_holds_the_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with pytest.raises(StudyError, match=r"seeds\.0 = \(not shown\): holds .* environment variable SOME_API_KEY"):
        load_study({"seeds": [SECRET]})


def test_secret_as_a_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with pytest.raises(StudyError, match=r"llm\.\(not shown\) = ") as told:
        load_study({"llm": {SECRET: 1}})
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    "value",
    [
        *("hf:x/y?token=abc", "https://example.org/v1?api_key=abc", "https://me@example.org/x", "s3://a:b@bucket/x"),
        *(
            "hf_abcdefghijklmnopqrstuv",
            "AKIA0123456789ABCDEF",
            "ghp_abcdefghijklmnopqrstuv",
            "eyJhbGciOiJI.eyJzdWIiOiIx.x",
        ),
    ],
)
def test_keys_by_form_and_addresses_with_credentials_are_refused(value: str) -> None:
    with pytest.raises(StudyError, match=r"image\.weights = \(not shown\)") as told:
        load_study({"image": {"weights": value}})
    assert value not in str(told.value)


@pytest.mark.parametrize(
    "value",
    ["hf:timm/efficientnet_b0.ra_in1k", "weights/a?b", "https://example.org/v1?page=2", "task-sk-learn", "a@b"],
)
def test_other_texts_are_no_secrets(value: str) -> None:
    refuse_secrets({"image": {"weights": value}}, {"SOME_API_KEY": SECRET})


@pytest.mark.parametrize(
    "name",
    [
        *("MP_API_KEY", "HF_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "MY_CREDENTIALS", "SLURM_JWT", "PGPASS"),
        *("PROXY_AUTH", "REGISTRY_AUTH_1", "MYSQL_PWD", "GITHUB_PAT", "SESSION_COOKIE", "SSHPASS"),
    ],
)
def test_names_of_secret_variables(name: str) -> None:
    assert secret_values({name: SECRET}) == {name: SECRET}


@pytest.mark.parametrize("name", ["SHELL", "GIT_AUTHOR_NAME", "XAUTHORITY", "PWD", "OLDPWD", "PATH", "COMPAT"])
def test_names_of_other_variables(name: str) -> None:
    assert secret_values({name: SECRET}) == {}


def test_variable_that_the_study_names_is_secret_whatever_its_name() -> None:
    config = {"study": SECRET, "llm": {"api_key_variable": "ENDPOINT"}}
    refuse_secrets({"study": SECRET}, {"ENDPOINT": SECRET})
    with pytest.raises(StudyError, match="environment variable ENDPOINT"):
        refuse_secrets(config, {"ENDPOINT": SECRET})


def test_password_of_a_proxy_is_secret_and_its_host_is_not() -> None:
    assert secret_values({"HTTPS_PROXY": "http://me:long-password@proxy:80"}) == {"HTTPS_PROXY": "long-password"}
    assert secret_values({"HTTPS_PROXY": "http://proxy:80/a@b"}) == {}


def test_text_around_a_mistake_in_yaml_is_shown_without_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    (tmp_path / "study.yaml").write_text(f"study: [{SECRET}\nimage: {KEY}: x\n")
    with pytest.raises(StudyError, match="no YAML of plain values") as told:
        read_study_file(tmp_path / "study.yaml")
    assert SECRET not in str(told.value)
    assert KEY not in str(told.value)
    assert without_secrets(f"a {SECRET} {KEY}.") == "a (not shown) (not shown)."
