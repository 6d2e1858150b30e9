"""Counts of residues, of three residues in a row, and of lengths, by which sets are compared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from plm_scaling.filter import ngram
from plm_scaling.inference.arrays import Ints

ORDER = 3
LENGTH_BINS = 64  # half octaves, up to 2³² residues
Doubles = NDArray[np.float64]


def length_bins(lengths: Ints) -> Ints:
    """The bin of each length: half an octave, floor(2·log₂ length)."""
    return np.floor(2 * np.log2(lengths) + 1e-9).astype(np.int64)


def counts_per_sequence(entries: bytes, lengths: Ints) -> csr_array[Any, Any]:
    """Counts [sequences, 22³] of what `ngram.count` counts, of each sequence."""
    windows = ngram.windows(ngram.encode(entries, ORDER), ORDER)
    end = np.cumsum(lengths + ngram.boundaries(ORDER))
    sequence = np.searchsorted(end, np.arange(len(windows)), side="right")
    shape = (len(lengths), ngram.SYMBOLS**ORDER)
    counts = csr_array((np.ones(len(windows)), (sequence, windows.astype(np.int64))), shape=shape)
    counts.sum_duplicates()
    return counts


def composition(counts: Doubles) -> Doubles:
    """Shares of the residues in counts [22³]."""
    return _shares(_cube(counts).sum(axis=(0, 1))[: ngram.BOUNDARY])


def trimers(counts: Doubles) -> Doubles:
    """Shares of three residues in a row in counts [22³], those before the first left out."""
    n = ngram.BOUNDARY
    return _shares(_cube(counts)[:n, :n, :n].ravel())


def distinct_trimers(counts: csr_array[Any, Any]) -> Doubles:
    """Of each sequence, different threes of residues by all of them: 1 where none comes twice; NaN
    for sequences that are shorter."""
    n, index = ngram.BOUNDARY, np.arange(ngram.SYMBOLS**ORDER)
    places = (index // ngram.SYMBOLS**2, index // ngram.SYMBOLS % ngram.SYMBOLS, index)
    inside = (places[0] < n) & (places[1] < n) & (places[2] % ngram.SYMBOLS < n)
    own = counts[:, np.flatnonzero(inside)]
    total = np.asarray(own.sum(axis=1), np.float64).ravel()
    different = np.diff(own.tocsr().indptr)
    return np.divide(different, total, out=np.full(len(total), np.nan), where=total > 0)


def jensen_shannon(p: Doubles, q: Doubles) -> float:
    """Divergence in bits of two distributions: 0 where they are equal, 1 where nothing is in
    both; NaN where one is empty."""
    middle = (p + q) / 2

    def relative(own: Doubles) -> float:
        some = own > 0
        return float((own[some] * np.log2(own[some] / middle[some])).sum())

    return (relative(p) + relative(q)) / 2 if p.any() and q.any() else float("nan")


def _cube(counts: Doubles) -> Doubles:
    return counts.reshape((ngram.SYMBOLS,) * ORDER)


def _shares(counts: Doubles) -> Doubles:
    return counts / max(counts.sum(), 1)
