"""Which residues of held-out sequences lie in stretches that training has exactly."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from plm_scaling.dedup.residues import Union
from plm_scaling.pool.read import PoolPart
from plm_scaling.pool.selection import Selection

K = 30  # residues of a stretch
# A stretch of training holds exactly one of the 8-mers, 8 bytes or one number, that begin at
# multiples of the stride. Only those are looked up; where one is known, the stretches around it.
_SEED = 8
_STRIDE = K - _SEED + 1
_BLOCK = 1 << 16  # seeds that the cache holds
_BATCH = 2_000_000  # stretches looked for in one pass over training, with some 300 MB
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio, odd


def in_training(sequences: np.ndarray, training: Selection) -> np.ndarray:
    """Which bytes of `sequences` lie in a stretch of `K` residues that `training` has.

    `sequences` (uint8) are capital letters with a zero after each sequence. All letters count, also
    X, and nothing is masked. The result is exact: stretches are compared, not their hashes. The
    data of training are read once per `_BATCH` stretches, and memory does not grow with them.
    """
    length = len(sequences)
    covered = np.zeros(length, bool)
    ends = np.flatnonzero(sequences == 0)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lasts = np.maximum(ends - K + 1, starts)  # one after the last place where a stretch begins
    begins = np.flatnonzero(Union(length).add(starts, lasts).covered())
    for first in range(0, len(begins), _BATCH):
        own = begins[first : first + _BATCH]
        texts, number = np.unique(_texts(sequences, own), return_inverse=True)
        at = np.flatnonzero(Union(length).add(own, own + _STRIDE).covered())
        seeds = _Seeds(sliding_window_view(sequences, _SEED)[at].view(np.uint64)[:, 0])
        found = np.zeros(len(texts), bool)
        for part, keys in zip(training.pool.parts, training, strict=True):
            for stretches in _stretches(part, keys, seeds):
                place = np.minimum(np.searchsorted(texts, stretches), len(texts) - 1)
                found[place[texts[place] == stretches]] = True
        shared = own[found[number]]
        covered |= Union(length).add(shared, shared + K).covered()
    return covered


def _texts(data: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The `K` bytes from each of `begins`, as strings."""
    return sliding_window_view(data, K)[begins].view(f"S{K}")[:, 0]


class _Seeds:
    """A set of 8-mers."""

    def __init__(self, seeds: np.ndarray) -> None:
        self._sorted = np.unique(seeds)
        bits = max(16, len(self._sorted).bit_length() + 3)
        self._shift = np.uint64(64 - bits)
        self._may_have = np.zeros(1 << bits, bool)
        self._may_have[self._sorted * _FACTOR >> self._shift] = True

    def find(self, seeds: np.ndarray) -> np.ndarray:
        """Which, by place, of `seeds` it has."""
        likely = np.flatnonzero(self._may_have[seeds * _FACTOR >> self._shift])
        wanted = seeds[likely]
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return likely[self._sorted[place] == wanted]


def _stretches(part: PoolPart, keys: np.ndarray, seeds: _Seeds) -> Iterator[np.ndarray]:
    """All stretches around one of `seeds` in the sequences `keys` of a part, in pieces."""
    data = np.frombuffer(part.data(), np.uint8)
    if len(data) < K:
        return
    offsets, lengths = part.index()
    chosen = np.zeros(part.n_sequences, bool)
    chosen[keys - part.first_key] = True
    every = np.ndarray((len(data) - _SEED) // _STRIDE + 1, np.uint64, data.data, strides=(_STRIDE,))
    for first in range(0, len(every), _BLOCK):
        at = (first + seeds.find(every[first : first + _BLOCK])) * _STRIDE
        row = np.searchsorted(offsets, at, "right") - 1
        at, row = at[chosen[row]], row[chosen[row]]
        begins = at[:, None] - np.arange(_STRIDE)
        inside = begins >= offsets[row, None]
        inside &= begins + K <= (offsets[row] + lengths[row])[:, None]
        yield _texts(data, begins[inside])
