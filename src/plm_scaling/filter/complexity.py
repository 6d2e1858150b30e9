"""What is measured of a sequence besides its perplexity: unknown residues and repeats."""

import numpy as np

from plm_scaling.filter import ngram

UNKNOWN = b"XBZJ"
_IS_UNKNOWN = bytes(c in UNKNOWN for c in range(256))
# 3-mers that are counted together. In a whole protein the share of distinct ones falls with length
# by chance (a random one of 5,000 residues has 0.64, of 35,000 0.20); in windows of so many it is
# 0.90 at any length. Shorter windows miss diverged repeats of longer units.
WINDOW = 1024
_TRIMER_BITS = 14  # 22³ < 2¹⁴
_AT_BORDERS = 4  # of the n + 2 windows that touch a sequence of n ≥ 3, those with a boundary


def unknown_fraction(chunk: bytes, lengths: np.ndarray) -> np.ndarray:
    """Share of X B Z J in each sequence of a chunk of database entries."""
    places = np.flatnonzero(np.frombuffer(chunk.translate(_IS_UNKNOWN), np.bool_))
    owner = np.searchsorted(np.cumsum(lengths + len(ngram.END)), places, side="right")
    return np.bincount(owner, minlength=len(lengths)) / lengths


def distinct_3mer_ratio(chunk: bytes, lengths: np.ndarray) -> np.ndarray:
    """Share of distinct 3-mers in windows of `WINDOW`, of each sequence; NaN below 3 residues.

    Windows lie end to end, the last one is shorter; their distinct 3-mers are added up and divided
    by all. Low in repeats, and in a sequence of which half is repeats: about 0.5.
    """
    n = lengths - 2
    windows = np.maximum(1, -(-n // WINDOW))
    last = np.cumsum(windows) - 1
    sizes = np.full(last[-1] + 1, WINDOW)
    sizes[last] = n - WINDOW * (windows - 1)
    for border in (last - windows + 1, last):
        sizes[border] += len(ngram.END)
    # One sort of (window, 3-mer) brings equal ones together: four times as fast as flags.
    kind: type[np.unsignedinteger] = (
        np.uint32 if len(sizes) <= 1 << (32 - _TRIMER_BITS) else np.uint64
    )
    pairs = np.repeat((np.arange(len(sizes)) << _TRIMER_BITS).astype(kind), sizes)
    pairs |= ngram.windows(ngram.encode(chunk, 3), 3)
    pairs.sort()
    is_new = np.ones(len(pairs), np.uint8)
    np.not_equal(pairs[1:], pairs[:-1], out=is_new[1:].view(bool))
    own = lengths + len(ngram.END)
    distinct = np.add.reduceat(is_new, np.cumsum(own) - own, dtype=np.int64) - _AT_BORDERS
    return np.where(n >= 1, distinct / np.maximum(n, 1), np.nan)
