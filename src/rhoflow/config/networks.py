"""The networks by name: what must be known of them before torch is there. A new one needs its row here.

Config, workflow, tables and preview ask this table; `rhoflow.models.networks` has the networks themselves.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

NetworkName = Literal["image", "text", "fusion", "clip"]


class KnownNetwork(NamedTuple):
    """What is known of a network by its name.

    Attributes
    ----------
    label : str
        Name in tables and figures.
    reads : tuple of str
        Its inputs; one that reads text runs at every text level.
    sections : tuple of str
        The study's sections that it depends on, beside those of every training.
    parents : tuple of str
        Networks that it can be built on; ``fusion.parents`` says which of them are.
    repeated : bool
        Whether it is trained on every partition of ``splits.repeats``; others are on the first.
    """

    label: str
    reads: tuple[Literal["image", "text"], ...]
    sections: tuple[str, ...]
    parents: tuple[NetworkName, ...] = ()
    repeated: bool = False


KNOWN_NETWORKS: dict[str, KnownNetwork] = {
    "image": KnownNetwork("Image network", ("image",), ("image", "readout")),
    "text": KnownNetwork("Text network", ("text",), ("language", "readout")),
    "fusion": KnownNetwork(
        "Fusion network",
        ("image", "text"),
        ("image", "language", "readout", "fusion"),
        parents=("image", "text"),
    ),
    "clip": KnownNetwork("CLIP", ("image", "text"), ("clip",), repeated=True),
}
