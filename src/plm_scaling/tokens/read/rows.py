"""Rows of several shards behind one index."""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from plm_scaling.tokens.read.mapping import MappedFiles


class MappedShard(NamedTuple):
    """Where in the mapping a shard's rows begin, and how many rows and tokens they are."""

    first_byte: int
    rows: int
    tokens: int


class TokenRows:
    """The rows of some shards, one after the other."""

    def __init__(
        self, mapping: MappedFiles, shards: list[MappedShard], context_length: int
    ) -> None:
        self.context_length = context_length
        self.tokens = sum(shard.tokens for shard in shards)
        counts = np.array([shard.rows for shard in shards], np.int64)
        firsts = np.array([shard.first_byte for shard in shards], np.int64)
        ends = np.cumsum(counts)
        # Row i, counted over all shards, begins at byte origins[its shard] + i · context_length.
        origins = firsts - (ends - counts) * context_length
        # Without sign: a negative index is then too large a one, and all arithmetic wraps around.
        self._ends, self._origins = ends.astype(np.uint64), origins.astype(np.uint64)
        self._end_list, self._origin_list = ends.tolist(), origins.tolist()  # faster for one row
        self._windows = np.lib.stride_tricks.as_strided(
            mapping.bytes,
            (max(0, len(mapping.bytes) - context_length + 1), context_length),
            (1, 1),
            writeable=False,
        )

    def __len__(self) -> int:
        return self._end_list[-1] if self._end_list else 0

    @property
    def tokens_per_row(self) -> float:
        """Mean tokens of a row that are no padding."""
        return self.tokens / len(self)

    def __getitem__(self, index: int) -> np.ndarray:
        """One row (context_length,), not copied; raises `IndexError` if there is no such row."""
        if index < 0:
            raise IndexError(f"row {index}")
        shard = bisect_right(self._end_list, index)
        return self._windows[self._origin_list[shard] + index * self.context_length]

    def read(self, index: np.ndarray) -> np.ndarray:
        """The rows at these positions, copied: uint8 (n, context_length). Raises `IndexError`."""
        index = index.astype(np.uint64)
        shard = self._ends.searchsorted(index, side="right")
        byte = self._origins[shard] + index * np.uint64(self.context_length)
        return self._windows[byte.view(np.int64)]
