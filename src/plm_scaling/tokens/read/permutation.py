"""A shuffle that needs no memory: where index i of n goes is computed, not stored.

A balanced Feistel network permutes the smallest domain of 4ᵏ numbers that holds n; results outside
of [0, n) are permuted again until they are inside (cycle walking, Black and Rogaway 2002), which
keeps it a permutation of [0, n). The order of a training run is thus a pure function of seed and
index.
"""

from functools import lru_cache

import numpy as np

from plm_scaling.common.splitmix import mix

ROUNDS = 8


def permute(index: np.ndarray, n: int, *key: int) -> np.ndarray:
    """Image (int64) of each index in [0, n) under the permutation that belongs to `key`."""
    bits = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    image = _feistel(index.astype(np.uint64), bits, keys)
    while len(outside := np.flatnonzero(image >= n)):
        image[outside] = _feistel(image[outside], bits, keys)
    return image.astype(np.int64)


@lru_cache(maxsize=1024)
def _round_keys(key: tuple[int, ...]) -> np.ndarray:
    """One independent 64-bit key per round; SeedSequence takes any number of integers."""
    return np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)


def _feistel(index: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    shift, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    left, right = index >> shift, index & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return left << shift | right
