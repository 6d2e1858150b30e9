"""What is measured of a sequence besides its perplexity: unknown residues and repetitiveness."""

import numpy as np

from plm_scaling.filter import ngram

UNKNOWN = b"XBZJ"
_IS_UNKNOWN = bytes(c in UNKNOWN for c in range(256))
_TRIMER_BITS = 14  # 22³ < 2¹⁴
_MAX_SEQUENCES = 1 << (32 - _TRIMER_BITS)
_AT_BORDERS = 4  # of the n + 2 windows that touch a sequence of n ≥ 3, those with a boundary


def unknown_fraction(chunk: bytes, lengths: np.ndarray) -> np.ndarray:
    """Share of X B Z J in each sequence of a chunk of database entries."""
    places = np.flatnonzero(np.frombuffer(chunk.translate(_IS_UNKNOWN), np.bool_))
    owner = np.searchsorted(np.cumsum(lengths + len(ngram.END)), places, side="right")
    return np.bincount(owner, minlength=len(lengths)) / lengths


def distinct_3mer_ratio(chunk: bytes, lengths: np.ndarray) -> np.ndarray:
    """Different 3-mers of each sequence over all its 3-mers, NaN for fewer than 3 residues.

    Low in repeats; it falls slowly with length in any protein.
    """
    sizes = lengths + len(ngram.END)
    trimers = ngram.windows(ngram.encode(chunk, 3), 3)
    distinct = []
    for first in range(0, len(lengths), _MAX_SEQUENCES):
        own = sizes[first : first + _MAX_SEQUENCES]
        begin = int(sizes[:first].sum())
        # One sort of (sequence, 3-mer) brings equal ones together: four times as fast as flags.
        pairs = np.repeat(np.arange(len(own), dtype=np.uint32) << _TRIMER_BITS, own)
        pairs |= trimers[begin : begin + len(pairs)]
        pairs.sort()
        is_new = np.ones(len(pairs), np.uint8)
        np.not_equal(pairs[1:], pairs[:-1], out=is_new[1:].view(bool))
        distinct.append(np.add.reduceat(is_new, np.cumsum(own) - own, dtype=np.int64))
    inner = np.concatenate(distinct) - _AT_BORDERS
    return np.where(lengths >= 3, inner / np.maximum(lengths - 2, 1), np.nan)
