"""Percentile intervals and seeded resampling, the same for every law."""

import math

import numpy as np
from numpy.typing import NDArray

from plm_scaling.errors import LawError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
MIN_USABLE_SHARE = 0.5  # with fewer usable resamples an interval would describe the lucky ones


def check_settings(resamples: int, level: float) -> None:
    """Raise LawError unless 0 < level < 1 and there is a whole number of resamples, 0 for none."""
    if not 0 < level < 1:
        raise LawError(f"laws.level is {level}; give a share between 0 and 1, such as 0.95")
    if resamples < 0 or 0 < resamples < 100:
        raise LawError(
            f"laws.bootstrap is {resamples}; give 0 (no intervals) or at least 100 resamples, "
            "1000 for a stable 95 % interval"
        )


def percentile_interval(samples: Floats, level: float) -> Interval | None:
    """The central `level` interval of the samples that are not NaN; None if under half of them are.

    An end that overflows (k of a power law can) also gives None: unbounded is not a number.
    """
    known = samples[~np.isnan(samples)]
    if len(samples) == 0 or len(known) < MIN_USABLE_SHARE * len(samples):
        return None
    with np.errstate(invalid="ignore"):  # between two infinities
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def multiplicities(n_runs: int, resamples: int, seed: int) -> Floats:
    """How often each run is drawn in each resample with replacement, shape (resamples, n_runs)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=resamples).astype(np.float64)


def percent(share: float) -> str:
    """0.95 → '95 %'."""
    return f"{100 * share:.3g} %"
