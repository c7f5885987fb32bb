"""What a wrong setting of the language model is told; a key pasted in the wrong place is shown nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from rhoflow.config import load_study
from rhoflow.errors import StudyError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no scheme": ({"base_url": "localhost:8000/v1"}, r"llm.base_url = \(not shown\): must be http:// or https://"),
    "another scheme": ({"base_url": "file:///etc/passwd"}, r"llm.base_url = \(not shown\): must be"),
    "port of letters": ({"base_url": "http://host:port/v1"}, r"llm.base_url = \(not shown\): must be"),
    "no examples at all": ({"examples": -1}, r"llm.examples = -1: .* greater than or equal to 0"),
    "no calls at all": ({"concurrency": 0}, r"llm.concurrency = 0: .* greater than or equal to 1"),
    "level twice": ({"levels": ["all", "all"]}, r"llm.levels .*only once"),
    "key in the file": ({"api_key": "sk-1234"}, r"llm.api_key: unknown key \(did you mean 'api_key_variable'\?\)"),
}
SECRETS = {
    "key for its variable": {"api_key_variable": "sk-secret"},
    "key in the address": {"base_url": "https://me:sk-secret@host/v1"},
    "key in the query": {"base_url": "https://host/v1?api-key=sk-secret"},
    "key as a key": {"api_key": "sk-secret"},
}


@pytest.mark.parametrize(("llm", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_setting_names_key_value_and_remedy(llm: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study({"llm": llm})


@pytest.mark.parametrize("llm", SECRETS.values(), ids=SECRETS.keys())
def test_misplaced_key_is_refused_unseen(llm: dict[str, str]) -> None:
    with pytest.raises(StudyError) as caught:
        load_study({"llm": llm})
    assert "sk-secret" not in str(caught.value)


def test_level_that_the_study_lacks_is_refused() -> None:
    config = {"levels": ["formula"], "models": ["llm"], "llm": {"levels": ["all"]}}
    with pytest.raises(StudyError, match=r"llm.levels: 'all' is not among levels, which are formula"):
        load_study(config)
    assert load_study({**config, "models": []}).models == ()


def test_asking_costs_money_so_a_dry_run_is_the_default() -> None:
    assert load_study({"models": ["llm"]}).llm.dry_run
