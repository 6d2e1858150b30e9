"""Content digests, and the parts that they divide a data set into.

A sequence belongs to the part that the top bits of its digest name, and lies in it in the order of
digests: neither depends on the order of the input, on its files, or on how many parts there are.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from plm_scaling.common.errors import PlmScalingError

DIGEST_BITS = 64


def digests(sequences: Iterable[bytes]) -> np.ndarray:
    """64-bit BLAKE2b digests (uint64) of sequences as they are stored (residues in upper case)."""
    blake2b = hashlib.blake2b
    joined = b"".join([blake2b(sequence, digest_size=8).digest() for sequence in sequences])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def part_of(digest_values: np.ndarray, parts: int) -> np.ndarray:
    """The part (int64) of each digest; `parts` is a power of two."""
    check_parts(parts)
    bits = parts.bit_length() - 1
    if bits == 0:
        return np.zeros(len(digest_values), np.int64)
    return (digest_values >> np.uint64(DIGEST_BITS - bits)).astype(np.int64)


def check_parts(parts: int) -> None:
    """Raise PlmScalingError unless `parts` is a power of two, as the config's schema does."""
    if parts < 1 or parts & (parts - 1):
        raise PlmScalingError(f"{parts} parts: not a power of two; give 1, 2, 4 or so on")


def part_name(part: int) -> str:
    """The name of a part's folder, or of its file without the ending."""
    return f"part-{part:04d}"
