"""What a network reads, ready for batching: images, tokens, or both; rows are asked for by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Inputs(ABC):
    """Inputs of n materials; ``inputs[[3, 1]]`` is the batch of rows 3 and 1.

    Attributes
    ----------
    n_cut : int
        Texts that were longer than the token limit.
    """

    n_cut = 0

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of materials."""

    @abstractmethod
    def __getitem__(self, rows: Sequence[int]) -> Batch:
        """Batch of some rows, in that order."""


class ArrayInputs(Inputs):
    """One tensor with a row a material.

    Parameters
    ----------
    name : str
        Key in the batch, e.g. ``images`` (n, p, p) or (n, 3, p, p), or ``features`` (n, f).
    values : (n, ...) tensor
    n_cut : int
        How many texts were cut.
    """

    def __init__(self, name: str, values: Tensor, *, n_cut: int = 0) -> None:
        self.name = name
        self.values = values
        self.n_cut = n_cut

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return {self.name: self.values[list(rows)]}


class TokenInputs(Inputs):
    """Token numbers of texts; a batch is padded to its own longest text only.

    Parameters
    ----------
    tokens : sequence of n lists of int
        With the special tokens, cut at the limit.
    pad : int
        Number of the padding token.
    n_cut : int
        How many texts were cut.
    """

    def __init__(self, tokens: Sequence[Sequence[int]], *, pad: int, n_cut: int) -> None:
        self.tokens = [torch.tensor(list(one), dtype=torch.long) for one in tokens]
        self.pad = pad
        self.n_cut = n_cut

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        chosen = [self.tokens[row] for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(one) for one in chosen])
        mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
        return {"input_ids": padded, "attention_mask": mask.long()}


class JointInputs(Inputs):
    """Several kinds of inputs of the same materials, side by side in one batch."""

    def __init__(self, *parts: Inputs) -> None:
        lengths = {len(part) for part in parts}
        assert len(lengths) == 1, f"inputs of different lengths: {lengths}"
        self.parts = parts
        self.n_cut = sum(part.n_cut for part in parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return {name: values for part in self.parts for name, values in part[rows].items()}
