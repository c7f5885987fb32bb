"""Faults: what goes wrong with which request, and a seeded plan of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fake_mp.world import Material  # heavy, and the server's process does without

# How the wire fails: the object or the answer itself is sound.
STATUS = ("429", "500", "502", "503", "504")
WIRE = (*STATUS, "slow", "reset", "short", "corrupt")
# What is wrong with an object itself: its size and ETag say so too.
OBJECT = ("absent", "refused", "truncated_gzip", "replaced", "null", "data_null", "wrong_json", "not_gzip")
# Another object of the same size, put there after the listing: HEAD still tells of the old one.
LATER = ("exchanged",)
# What is wrong with a page of the REST API.
PAGE = ("twice", "empty", "wrong_json", "bad_id", "401", "403", "404")
ETAG = ("multipart",)  # no fault: the ETag of an object uploaded in parts, which is no md5 of it

KINDS = (*WIRE, *OBJECT, *LATER, *PAGE, *ETAG)


@dataclass(frozen=True)
class Fault:
    """A fault of the requests of one key.

    Attributes
    ----------
    kind : str
        An entry of WIRE, OBJECT, LATER, ETAG (bucket) or of WIRE, PAGE (REST API).
    times : int or None
        So many requests fail, then all is well; None: every request.
    after : int
        So many requests succeed before.
    retry_after : int or None
        Header of 429 and 503 [s].
    """

    kind: str
    times: int | None = 1
    after: int = 0
    retry_after: int | None = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(KINDS)}")

    def strikes(self, served: int) -> bool:
        """Whether it hits the next request, when `served` came before."""
        return served >= self.after and (self.times is None or served < self.after + self.times)


def as_json(faults: Mapping[str, Fault]) -> dict[str, dict[str, Any]]:
    return {key: asdict(fault) for key, fault in faults.items()}


def plan_faults(
    materials: list[Material],
    share: float,
    seed: int = 0,
    *,
    functionals: tuple[str, ...] = ("GGA", "GGA+U"),
    transient: tuple[str, ...] = ("429", "500", "503", "slow", "reset", "short", "corrupt"),
    permanent: tuple[str, ...] = ("absent", "truncated_gzip", "null", "data_null", "wrong_json", "500"),
) -> dict[str, Fault]:
    """Give a share of the materials that have a density a fault of its object, each kind about equally often.

    Transient faults strike once or twice, permanent ones always. The keys are those of `Expected.task`.

    Returns
    -------
    dict of str to Fault
        By object key, for ``FakeMaterialsProject(faults=...)``.
    """
    chance = random.Random(seed)
    keys = sorted(
        task.key for material in materials if material.visible and (task := material.expected(functionals).task)
    )
    kinds = [*transient, *permanent]
    faults: dict[str, Fault] = {}
    for i, key in enumerate(chance.sample(keys, round(share * len(keys)))):
        kind = kinds[i % len(kinds)]
        lasting = i % len(kinds) >= len(transient)
        faults[key] = Fault(kind, times=None if lasting else chance.choice((1, 2)))
    return faults
