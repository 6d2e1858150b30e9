"""Percentile intervals and seeded resampling, the same for every law."""

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError


class Place(StrEnum):
    """Where a value stands in an interval."""

    INSIDE = "inside"
    BELOW = "below"
    ABOVE = "above"
    LOWER_END = "at the lower end of"
    UPPER_END = "at the upper end of"


class Overlap(StrEnum):
    """How two intervals stand."""

    OVERLAPS = "overlaps with"
    TOUCHES = "touches"
    APART = "does not overlap with"


Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
Interval = tuple[float, float]
Estimate = tuple[float, float, float]  # a value and the ends of its interval
SEED_SHARE = 0.1  # of an interval's width; from seed to seed its ends move by less
NO_BOOTSTRAP = "without a bootstrap there are no intervals"  # a warning
FEWEST = 0.75  # share of the runs that a resample draws at least
USABLE_SHARE = 0.5  # with no more usable resamples an interval would describe the lucky ones


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
    """The central `level` interval of the samples that are not NaN; None if half of them are NaN.

    An end that overflows (k of a power law can) also gives None: unbounded is not a number.
    """
    known = samples[~np.isnan(samples)]
    if len(known) <= USABLE_SHARE * len(samples):
        return None
    with np.errstate(invalid="ignore"):  # between two infinities
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def multiplicities(
    n_runs: int, resamples: int, seed: int, group: Labels | None = None, parameters: int = 0
) -> Floats:
    """How often each run is drawn in each resample with replacement, shape (resamples, n_runs).

    With `group` (n_runs,) whole groups are drawn. As many are drawn as there are, n, or for the p
    `parameters` of a fit n − p − 2: percentiles of few runs are too narrow (Hesterberg 2015), and
    so they have the variance of Student's t with n − p degrees of freedom. FEWEST of n at least.
    """
    rng = np.random.default_rng(seed)
    names, member = (None, slice(None)) if group is None else np.unique(group, return_inverse=True)
    units = n_runs if names is None else len(names)
    fewer = parameters + 2 if parameters else 0
    size = max(math.ceil(FEWEST * units), units - fewer)
    drawn = rng.multinomial(size, np.full(units, 1 / units), size=resamples)
    return drawn[:, member].astype(np.float64)


def place(value: float, interval: Interval) -> Place:
    """Where a value stands.

    At an end is what the resamples of another seed may put on its other side. In logarithms where
    all is positive, as coefficients span decades.
    """
    low, high = interval
    if min(low, value) > 0:
        low, high, value = math.log(low), math.log(high), math.log(value)
    room = SEED_SHARE * (high - low)
    if abs(value - low) < room:
        return Place.LOWER_END
    if abs(value - high) < room:
        return Place.UPPER_END
    return Place.BELOW if value < low else Place.ABOVE if value > high else Place.INSIDE


def overlap(one: Interval, other: Interval) -> Overlap:
    """How two intervals stand: they touch where another seed may change which."""
    gap = max(one[0], other[0]) - min(one[1], other[1])
    if gap <= 0:
        return Overlap.OVERLAPS
    width = max(one[1] - one[0], other[1] - other[0])
    return Overlap.TOUCHES if gap <= SEED_SHARE * width else Overlap.APART


def apart(one: Estimate, other: Estimate) -> tuple[float, float]:
    """How far two estimates are apart, and how far their intervals allow them to be."""
    below, above = sorted((one, other))  # of the lower the upper half counts, and vice versa
    return above[0] - below[0], math.hypot(below[2] - below[0], above[0] - above[1])


def percent(share: float) -> str:
    """0.95 → '95 %'."""
    return f"{100 * share:.3g} %"


def interval_text(interval: Interval | None, form: str, level: float) -> str:
    """'(95 % 0.50 to 0.53)'; `form` formats each end."""
    if interval is None:
        return "(no interval)"
    return f"({percent(level)} {form.format(interval[0])} to {form.format(interval[1])})"
