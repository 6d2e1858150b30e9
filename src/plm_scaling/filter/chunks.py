"""Chosen sequences of a part in chunks of database entries, cut where the content says.

A chunk holds the sequences whose digests begin with the same bits, so that which sequences are
scored together depends neither on the number of parts nor on their borders. The n-gram model does
not care; a model whose sums round differently in another batch gives the same bytes all the same.
"""

from collections.abc import Iterator

import numpy as np

from plm_scaling.common.parts import DIGEST_BITS
from plm_scaling.filter.ngram import END
from plm_scaling.pool.read import Pool, PoolPart

MIN_BITS = 8  # small pools have 256 chunks at least: the same up to 256 parts


def chunks(
    pool: Pool, part: PoolPart, chosen: np.ndarray, residues: int
) -> Iterator[tuple[np.ndarray, bytes, np.ndarray]]:
    """Local keys, entries and lengths (residues) of the `chosen` sequences (bool per sequence).

    A chunk has about `residues` residues if all sequences are chosen; empty chunks are left out.
    """
    offsets, lengths = part.index()
    data = memoryview(part.data())
    keys = np.flatnonzero(chosen)
    bits = max(MIN_BITS, (pool.n_residues // residues).bit_length())
    prefix = part.digests()[keys] >> np.uint64(DIGEST_BITS - bits)
    edges = np.flatnonzero(prefix[1:] != prefix[:-1]) + 1
    for own in np.split(keys, edges):
        if len(own):
            yield own, entries(data, offsets, lengths, own), lengths[own]


def entries(data: memoryview, offsets: np.ndarray, lengths: np.ndarray, keys: np.ndarray) -> bytes:
    """The database entries of these ascending keys, one after the other; neighbours as one copy."""
    breaks = np.flatnonzero(np.diff(keys) > 1)
    first = keys[np.concatenate(([0], breaks + 1))]
    last = keys[np.concatenate((breaks, [len(keys) - 1]))]
    begins = offsets[first].tolist()
    ends = (offsets[last] + lengths[last] + len(END)).tolist()
    return b"".join([data[a:b] for a, b in zip(begins, ends, strict=True)])
