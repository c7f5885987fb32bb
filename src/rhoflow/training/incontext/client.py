"""Questions to an OpenAI-compatible endpoint: several at a time, not too fast, again where it is busy or unwell.

What the endpoint sends is not trusted: replies are bounded in size and time and checked before they are used, and the
key is cut out of whatever might echo it. A reply that is no answer (429, 5xx, time-out, reset) says nothing about the
crystal, so it never becomes a failed prediction: it is asked for again, and in the end the job stops.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Any, Self

import httpx2
import openai
import tenacity
from pydantic import BaseModel, NonNegativeInt, ValidationError

from rhoflow.config import LanguageModelInContext
from rhoflow.errors import StudyError
from rhoflow.progress import track
from rhoflow.training.incontext.answers import Answer, AnswerStore

BACKOFF_S = 2.0  # before the second try; doubles, with a jitter
LONGEST_WAIT_S = 120.0  # between two tries, whatever Retry-After says
LARGEST_REPLY = 1 << 20  # bytes
SHORTEST_SECRET = 8  # a shorter key ("none", for a server of one's own) is no secret, and may be part of an answer
FILTERED = {"content_filter", "content_policy_violation"}
NO_MONEY = "insufficient_quota"
_BUSY = {408, 409, 425, 429}


def ask_all(
    bodies: Iterable[dict[str, Any]],
    store: AnswerStore,
    options: LanguageModelInContext,
    *,
    what: str,
    backoff_s: float = BACKOFF_S,
) -> None:
    """Put into the store the answers that it lacks.

    Each answer is stored as it comes, so a kill loses the calls in flight and no more.

    Parameters
    ----------
    bodies : iterable of dict
        What to send; one that stands there twice is sent once.
    what : str
        Words for the progress line.
    backoff_s : float
        Wait before the second try [s].

    Raises
    ------
    StudyError
        If there is no key, the endpoint refuses the request itself, or all tries for an answer failed.
    """
    missing = {store.path(body): body for body in bodies if body not in store}
    if not missing:
        return
    with Endpoint(options, read_key(options), backoff_s=backoff_s) as endpoint:

        def answer(body: dict[str, Any]) -> None:
            store.write(body, endpoint.ask(body))

        with ThreadPoolExecutor(options.concurrency) as pool:
            futures = [pool.submit(answer, body) for body in missing.values()]
            try:
                for future in track(as_completed(futures), total=len(futures), what=what):
                    future.result()
            except BaseException:
                endpoint.stopped.set()  # calls in flight end and are stored; nobody starts another
                raise


def read_key(options: LanguageModelInContext) -> str:
    """Key of the endpoint, from the environment.

    Raises
    ------
    StudyError
        If the variable is not set, or holds what no header may hold.
    """
    name = options.api_key_variable
    key = os.environ.get(name, "")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        state = "holds blanks or other than ASCII characters" if key else "is not set"
        raise StudyError(
            f"the environment variable {name} (llm.api_key_variable) {state}: put the key of {options.base_url}"
            " there; for a server that wants no key, any word"
        )
    return key


class Endpoint:
    """An endpoint and its limits; `ask` may be called from several threads.

    Attributes
    ----------
    stopped : threading.Event
        Once set, no further call is made and no wait lasts.
    """

    def __init__(self, options: LanguageModelInContext, key: str, *, backoff_s: float) -> None:
        self.stopped = threading.Event()
        self._options = options
        self._key = key
        self._pace = _Pace(60 / options.requests_per_minute, self.stopped)
        self._client = openai.OpenAI(api_key=key, base_url=options.base_url, timeout=options.timeout_s, max_retries=0)
        self._backoff = tenacity.wait_exponential_jitter(
            multiplier=backoff_s, max=LONGEST_WAIT_S, jitter=backoff_s / 2
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, body: dict[str, Any]) -> Answer:
        """Answer to one question.

        Raises
        ------
        StudyError
            If the endpoint refuses the request itself, or all tries failed.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_BusyError),
            stop=tenacity.stop_after_attempt(self._options.tries) | tenacity.stop_when_event_set(self.stopped),
            wait=self._wait,
            sleep=tenacity.sleep_using_event(self.stopped),
            reraise=True,
        )
        try:
            return retrying(self._try, body)
        except _BusyError as error:
            raise StudyError(
                f"{self._place()}: no answer after {self._options.tries} tries, last: {error}; what was answered is"
                " kept: run again later, or lower llm.concurrency and llm.requests_per_minute"
            ) from None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _BusyError) and error.retry_after_s is not None:
            self._pace.hold(error.retry_after_s)  # all threads wait: the limit is the endpoint's, not the question's
            return 0.0
        return self._backoff(state)

    def _try(self, body: dict[str, Any]) -> Answer:
        self._pace.wait()
        if self.stopped.is_set():
            raise _BusyError("stopped")
        deadline = time.monotonic() + self._options.timeout_s
        try:
            with self._client.chat.completions.with_streaming_response.create(**body) as response:
                return self._read(_bounded(response.iter_bytes(), deadline))
        except openai.APIStatusError as error:
            return self._judge(error)
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            raise _BusyError(self._clean(f"{type(error).__name__}: {error}")) from None

    def _read(self, reply: bytes) -> Answer:
        try:
            read = _Reply.model_validate_json(reply)
        except ValidationError:
            raise _BusyError("a reply that is no chat completion") from None
        choice = read.choices[0] if read.choices else _Choice()
        usage = read.usage or _Usage()
        return Answer(
            text=self._without_key(choice.message.content or ""),
            finish=self._clean(choice.finish_reason or ""),
            refused=choice.message.refusal is not None,
            served_by=self._clean(read.model or ""),
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )

    def _judge(self, error: openai.APIStatusError) -> Answer:
        """Tell a question that is filtered from an endpoint that is busy and a request that is wrong."""
        if error.status_code == 400 and error.code in FILTERED:
            return Answer(finish="content_filter", refused=True)
        said = f"HTTP {error.status_code}: {self._clean(str(error.message))}"
        if (error.status_code in _BUSY or error.status_code >= 500) and error.code != NO_MONEY:
            raise _BusyError(said, _retry_after(error.response.headers)) from None
        raise StudyError(
            f"{self._place()}: {said}; check the address, the model's name, the key in"
            f" {self._options.api_key_variable}, and whether this model takes images and llm.temperature"
        ) from None

    def _place(self) -> str:
        return f"llm.base_url = {self._options.base_url}, llm.model = {self._options.model}"

    def _clean(self, text: str) -> str:
        """Make what the endpoint says short, one line, and free of the key."""
        return "".join(c if c.isprintable() else " " for c in self._without_key(text))[:300]

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "(key)") if len(self._key) >= SHORTEST_SECRET else text


class _BusyError(Exception):
    """No answer this time.

    Parameters
    ----------
    retry_after_s : float or None
        When the endpoint wants to be asked again [s].
    """

    def __init__(self, said: str, retry_after_s: float | None = None) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message = _Message()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0


class _Reply(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


class _Pace:
    """Calls of all threads at equal distances, and none before the endpoint wants one."""

    def __init__(self, interval_s: float, stopped: threading.Event) -> None:
        self._interval_s, self._stopped = interval_s, stopped
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for this thread's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval_s
        self._stopped.wait(max(0.0, turn - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Let nobody call for a while."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _bounded(chunks: Iterable[bytes], deadline: float) -> bytes:
    """Read a reply that comes in time and is not too large; the client's own time-out is per chunk."""
    reply = b""
    for chunk in chunks:
        reply += chunk
        if time.monotonic() > deadline:
            raise _BusyError("the reply came too slowly")
        if len(reply) > LARGEST_REPLY:
            raise _BusyError(f"the reply is longer than {LARGEST_REPLY} bytes")
    return reply


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds of a Retry-After header, at most `LONGEST_WAIT_S`; None without one (or with a date, which is rare)."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_WAIT_S) if seconds >= 0 else None
