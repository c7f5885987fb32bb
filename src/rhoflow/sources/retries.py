"""When a server is asked again and how long we wait before: exponential backoff with jitter, six tries."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

TRIES = 6
WAIT_S = 1.0  # the first wait is up to so long, the second up to twice that, ...
LONGEST_WAIT_S = 60.0
OUTAGE = 8  # failures one after the other: then the network or the server is at fault, not these materials


class TryAgainError(Exception):
    """A request failed in a way that may pass: too many requests, a server's fault, a lost connection.

    Parameters
    ----------
    message : str
        What happened, fit for a user.
    after_s : float
        How long the server asks to be left alone [s]; 0 if it says nothing.
    """

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


def retrying(wait_s: float) -> Retrying:
    """Retry on `TryAgainError`, which comes out unchanged after the last of `TRIES` tries.

    Parameters
    ----------
    wait_s : float
        Scale of the backoff [s]; a server's Retry-After is kept whatever the scale.
    """
    return Retrying(
        retry=retry_if_exception_type(TryAgainError),
        stop=stop_after_attempt(TRIES),
        wait=_wait(wait_s),
        reraise=True,
    )


def _wait(wait_s: float) -> Callable[[RetryCallState], float]:
    # Full jitter, uniform below a ceiling that doubles: jobs that failed together do not come back together.
    backoff = wait_random_exponential(multiplier=wait_s, max=LONGEST_WAIT_S)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after_s if isinstance(error, TryAgainError) else 0.0
        return max(backoff(state), asked)

    return wait


def retry_after(headers: dict[str, str]) -> float:
    """Seconds of a Retry-After header, at most `LONGEST_WAIT_S`; 0 without one or if it is a date.

    Parameters
    ----------
    headers : dict of str to str
        Names in lower case.
    """
    text = headers.get("retry-after", "")
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() and text.isascii() else 0.0
