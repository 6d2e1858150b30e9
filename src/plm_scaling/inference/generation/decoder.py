"""The next token of rows that grow by one: from a cache of keys and values, or without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.generation.cache import cached
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import BATCH_TOKENS
from plm_scaling.train.model.builder import SequenceModel


class Decoder(Protocol):
    """Rows of tokens, all of one length, and what the model expects after them."""

    def begin(self, rows: Tokens) -> Tensor:
        """Logits [rows, vocabulary] of the token after each of `rows` [rows, width]; what was
        there before is forgotten."""

    def next(self, tokens: Tokens) -> Tensor:
        """The same after one more token [rows] of each."""

    def keep(self, rows: Ints) -> None:
        """Go on with these rows alone."""


class Uncached:
    """A decoder for any causal model: each token costs a pass over all that precede it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows = np.empty((0, 0), np.uint8)

    def begin(self, rows: Tokens) -> Tensor:
        self.rows = rows
        return self._last()

    def next(self, tokens: Tokens) -> Tensor:
        self.rows = np.concatenate([self.rows, tokens[:, None]], axis=1)
        return self._last()

    def keep(self, rows: Ints) -> None:
        self.rows = self.rows[rows]

    def _last(self) -> Tensor:
        count, width = self.rows.shape
        at_a_time = max(1, BATCH_TOKENS[self.model.device.type] // width)
        sizes = np.full(count, width, np.int64)
        return torch.cat(
            [
                self.model.logits(self.rows[i : i + at_a_time], sizes[i : i + at_a_time])[:, -1]
                for i in range(0, count, at_a_time)
            ]
        )


@contextmanager
def open_decoder(model: Model, width: int) -> Iterator[Decoder]:
    """The decoder that suits a causal model, for rows of up to `width` tokens.

    Inside the block the model does nothing else.
    """
    if isinstance(model.network, SequenceModel):
        with cached(model.network, model.context_length, width, model.device) as decoder:
            yield decoder
    else:
        yield Uncached(model)
