"""Numbers that are drawn by place: a hash of what is asked for instead of a generator's state."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # step of SplitMix64 (Steele, Lea and Flood 2014)


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (uint64): every input bit changes every output bit half of the
    time."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def uniform(x: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) (float64) from the mixed top 53 bits of `x` (uint64)."""
    return (mix(x) >> np.uint64(11)).astype(np.float64) * 2.0**-53
