"""The endpoint's moods: what is asked again, what stops the job, what is an answer all the same; and the limits."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import KEY, FakeEndpoint, completion, drip, modulus, reset, say, send

from rhoflow.errors import StudyError
from rhoflow.training.incontext import client
from rhoflow.training.incontext.answers import Answer, AnswerStore
from rhoflow.training.incontext.client import ask_all, read_key

BACKOFF_S = 0.001


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeEndpoint() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers")


def body(text: str = "Ti") -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "temperature": 0.0, "max_tokens": 64}


def ask(endpoint: FakeEndpoint, store: AnswerStore, *texts: str, **changes: Any) -> list[Answer]:
    bodies = [body(text) for text in texts or ("Ti",)]
    ask_all(bodies, store, endpoint.options(**changes), what="ask", backoff_s=BACKOFF_S)
    return [store.read(one) for one in bodies]


def test_answer_is_what_the_endpoint_said(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    [answer] = ask(endpoint, store)
    assert answer == Answer(
        text=modulus(body()), finish="stop", served_by="fake-2026", input_tokens=900, output_tokens=6
    )
    assert endpoint.asked == [body()]
    assert (endpoint.keys, endpoint.paths) == ({f"Bearer {KEY}"}, {"/v1/chat/completions"})


PASSING: dict[str, Callable[..., None]] = {
    "429": send(429, {"error": {"message": "slow down"}}),
    "429 for ever": send(429, {"error": {"message": "slow down"}}, Retry_After="nan"),
    "429 after a date": send(429, {}, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    "500": send(500, {"error": {"message": "oops"}}),
    "503 in HTML": send(503, b"<html>gateway</html>"),
    "reset": reset,
    "HTML with 200": send(200, b"<html>maintenance</html>"),
    "half a reply": send(200, json.dumps(completion("120 GPa")).encode()[:60]),
    "error with 200": send(200, {"error": {"message": "overloaded"}}),
    "content of another type": say(120),
    "lone surrogate": send(200, json.dumps(completion("\ud800")).encode()),
    "negative usage": send(200, completion("1 GPa", usage={"prompt_tokens": -1, "completion_tokens": 1})),
}


@pytest.mark.parametrize("mood", PASSING.values(), ids=PASSING.keys())
def test_passing_trouble_is_asked_again(
    endpoint: FakeEndpoint, store: AnswerStore, mood: Callable[..., None]
) -> None:
    endpoint.script = [mood, mood]
    assert ask(endpoint, store)[0].text == modulus(body())
    assert len(endpoint.asked) == 3


def test_slow_answer_is_asked_again(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    endpoint.script = [lambda handler, asked: threading.Event().wait(0.5)]
    assert ask(endpoint, store, timeout_s=0.1)[0].text == modulus(body())


def test_reply_that_drips_is_given_up_in_time(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    endpoint.script = [drip]
    assert ask(endpoint, store, timeout_s=0.2)[0].text == modulus(body())
    assert endpoint.times[1] - endpoint.times[0] < 1.0  # the whole drip takes 2 s


def test_reply_without_end_is_given_up(
    endpoint: FakeEndpoint, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LARGEST_REPLY", 4000)
    endpoint.otherwise = say("9" * 5000)
    with pytest.raises(StudyError, match="longer than 4000 bytes"):
        ask(endpoint, store, tries=2)


def test_retry_after_is_honoured_by_every_thread(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    endpoint.delay_s = 0.04
    endpoint.script = [send(429, {}, Retry_After="0.4")]
    ask(endpoint, store, *"abcdefghij", concurrency=2)
    waited = [when - endpoint.times[0] for when in endpoint.times]
    assert len(waited) == 11
    assert sum(when < 0.4 for when in waited) <= 6  # those that were on their way when the endpoint said so


@pytest.mark.timeout(60)
def test_retry_after_of_years_is_cut(
    endpoint: FakeEndpoint, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONGEST_WAIT_S", 0.05)
    endpoint.script = [send(429, {}, Retry_After="1e9")]
    assert ask(endpoint, store)[0].text == modulus(body())


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        (send(500, {"error": {"message": "oops"}}), "HTTP 500"),
        (reset, "APIConnectionError"),
        (send(200, b"no JSON"), "no chat completion"),
    ],
    ids=["500", "reset", "no JSON"],
)
def test_lasting_trouble_stops_the_job_and_makes_no_failed_prediction(
    endpoint: FakeEndpoint, store: AnswerStore, mood: Callable[..., None], said: str
) -> None:
    endpoint.otherwise = mood
    with pytest.raises(StudyError, match=rf"no answer after 3 tries, last: .*{said}.*run again later"):
        ask(endpoint, store, tries=3)
    assert len(endpoint.asked) == 3
    assert body() not in store


REFUSING = {
    "wrong key": (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}),
    "no such model": (404, {"error": {"message": "The model `fake` does not exist"}}),
    "no images": (400, {"error": {"message": "image input is not supported"}}),
    "no money": (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
}


@pytest.mark.parametrize(("status", "payload"), REFUSING.values(), ids=REFUSING.keys())
def test_wrong_request_stops_the_job_at_once_with_the_endpoints_words(
    endpoint: FakeEndpoint, store: AnswerStore, status: int, payload: dict
) -> None:
    endpoint.otherwise = send(status, payload)
    with pytest.raises(StudyError, match=f"HTTP {status}: .*{payload['error']['message']}.*check the address"):
        ask(endpoint, store, *map(str, range(50)), concurrency=2)
    assert len(endpoint.asked) <= 4


ANSWERED_ALL_THE_SAME = {
    "words": (say("I cannot tell."), Answer(text="I cannot tell.", finish="stop")),
    "nothing": (say(""), Answer(finish="stop")),
    "null": (say(None), Answer(finish="stop")),
    "no choices": (send(200, completion("", choices=[])), Answer()),
    "refusal": (
        send(200, completion("", choices=[{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}])),
        Answer(finish="stop", refused=True),
    ),
    "filter": (
        send(400, {"error": {"message": "filtered", "code": "content_filter"}}),
        Answer(finish="content_filter", refused=True),
    ),
}


@pytest.mark.parametrize(("mood", "expected"), ANSWERED_ALL_THE_SAME.values(), ids=ANSWERED_ALL_THE_SAME.keys())
def test_useless_answer_is_an_answer_and_kept(
    endpoint: FakeEndpoint, store: AnswerStore, mood: Callable[..., None], expected: Answer
) -> None:
    endpoint.script = [mood]
    [answer] = ask(endpoint, store)
    assert (answer.text, answer.finish, answer.refused) == (expected.text, expected.finish, expected.refused)
    assert ask(endpoint, store) == [answer]
    assert len(endpoint.asked) == 1


def test_what_was_answered_is_never_asked_again(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    first = ask(endpoint, store, "a", "b", "b")
    assert ask(endpoint, store, "b", "a", "c")[:2] == [first[1], first[0]]
    assert sorted(one["messages"][0]["content"] for one in endpoint.asked) == ["a", "b", "c"]


@pytest.mark.parametrize("change", [{"model": "other"}, {"temperature": 1.0}, {"max_tokens": 65}, {"messages": []}])
def test_another_model_message_or_parameter_is_another_question(store: AnswerStore, change: dict[str, Any]) -> None:
    store.write(body(), Answer(text="1 GPa"))
    assert body() in store
    assert {**body(), **change} not in store


def test_damaged_answer_is_named(store: AnswerStore) -> None:
    store.write(body(), Answer(text="1 GPa"))
    store.path(body()).write_text("{")
    with pytest.raises(StudyError, match=r"\.json: damaged; remove it, and the model is asked again"):
        store.read(body())


def test_images_are_kept_as_hashes(store: AnswerStore) -> None:
    asked = body()
    url = "data:image/png;base64," + "A" * 1000
    asked["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    store.write(asked, Answer(text="1 GPa"))
    kept = json.loads(store.path(asked).read_text())
    assert kept["asked"]["messages"][0]["content"][0]["image_url"]["url"].startswith("sha256:")
    assert asked["messages"][0]["content"][0]["image_url"]["url"] == url


@pytest.mark.parametrize("concurrency", [1, 3])
def test_calls_at_a_time_reach_the_limit_and_never_pass_it(
    endpoint: FakeEndpoint, store: AnswerStore, concurrency: int
) -> None:
    endpoint.delay_s = 0.03
    endpoint.script = [send(500, {})] * 5
    ask(endpoint, store, *map(str, range(20)), concurrency=concurrency)
    assert endpoint.most == concurrency


def test_calls_keep_their_distance(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    start = time.monotonic()
    ask(endpoint, store, *"abcdef", concurrency=6, requests_per_minute=1200)  # one in 50 ms
    assert endpoint.times[-1] - start >= 5 * 0.05


def test_answers_in_flight_are_kept_when_the_job_stops(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    endpoint.script = [send(401, {"error": {"message": "no"}})]
    endpoint.delay_s = 0.05
    with pytest.raises(StudyError):
        ask(endpoint, store, *"abcd", concurrency=4)
    assert sum(body(text) in store for text in "abcd") == len(endpoint.asked) - 1 > 0


@pytest.mark.timeout(60)
def test_nobody_waits_once_the_job_has_stopped(endpoint: FakeEndpoint, store: AnswerStore) -> None:
    endpoint.script = [send(429, {}, Retry_After="30"), send(401, {"error": {"message": "no"}})]
    endpoint.delay_s = 0.3  # both are on their way at once
    start = time.monotonic()
    with pytest.raises(StudyError, match="HTTP 401"):
        ask(endpoint, store, *"abcd", concurrency=2)
    assert time.monotonic() - start < 15


def test_key_is_in_no_file_message_or_log(
    endpoint: FakeEndpoint,
    store: AnswerStore,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even where the endpoint echoes it."""
    caplog.set_level(logging.DEBUG)
    endpoint.script = [
        say(f"{KEY} 120 GPa"),
        send(200, completion("1 GPa", model=KEY)),
        send(500, {"error": {"message": KEY}}),
        send(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    ]
    ask(endpoint, store, "a", "b")
    with pytest.raises(StudyError) as caught:
        ask(endpoint, store, "c", tries=2)
    assert "(key)" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr()) + caplog.text
    files = [path.read_bytes() for path in store.folder.rglob("*.json")]
    assert len(files) == 2
    assert KEY not in shown
    assert not any(KEY.encode() in file for file in files)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_key_that_no_header_can_hold_is_refused_unseen(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(StudyError, match=r"variable MY_KEY \(llm.api_key_variable\) (is not set|holds)") as caught:
        read_key(endpoint.options(api_key_variable="MY_KEY"))
    assert not key or key not in str(caught.value)


def test_short_word_for_a_server_without_keys_stays_in_answers(
    endpoint: FakeEndpoint, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "1")
    endpoint.otherwise = say("121 GPa")
    assert ask(endpoint, store)[0].text == "121 GPa"


def test_key_is_not_needed_where_all_is_answered(
    endpoint: FakeEndpoint, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(endpoint, store)
    monkeypatch.delenv("OPENAI_API_KEY")
    ask(endpoint, store)
    assert len(endpoint.asked) == 1
