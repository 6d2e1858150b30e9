"""Resampling of residuals along one training curve, whose neighbours are alike."""

import numpy as np

from plm_scaling.laws.stats.intervals import Floats


def block_length(residuals: Floats) -> int:
    """Evaluations per block: four times the integrated autocorrelation time, at least n^(1/3).

    The sum of autocorrelations stops at the first lag that is not positive; blocks hold at most a
    quarter of the curve.
    """
    n = len(residuals)
    centred = residuals - residuals.mean()
    variance = float((centred**2).sum())
    time = 1.0
    for lag in range(1, n // 4):
        correlation = float((centred[lag:] * centred[:-lag]).sum()) / max(variance, 1e-300)
        if correlation <= 0:
            break
        time += 2 * correlation
    # white noise has a time of 1, for which the cube root (the usual rate) decides
    wanted = max(np.ceil(n ** (1 / 3)), np.ceil(4 * time) if time > 1.5 else 1)
    return int(max(1, min(wanted, n // 4)))


def moving_blocks(
    residuals: Floats, length: int, size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Resampled series, shape `size` (resamples, n), of blocks that keep their order."""
    resamples, n = size
    centred = residuals - residuals.mean()
    count = -(-n // length)
    starts = rng.integers(0, len(centred) - length + 1, (resamples, count))
    index = starts[:, :, None] + np.arange(length)
    return centred[index.reshape(resamples, count * length)[:, :n]]


def smoothed(values: Floats, parts: int) -> Floats:
    """Means over `parts` stretches of the curve, as equal in length as can be."""
    return np.array([part.mean() for part in np.array_split(values, min(parts, len(values)))])


def rms(values: Floats) -> float:
    """Root mean square."""
    return float(np.sqrt((values**2).mean()))
