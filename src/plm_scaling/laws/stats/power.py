"""Power laws y = k·x^p by least squares of ln y on ln x, for one series or for many at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, percentile_interval


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(log_k)·x^exponent."""

    log_k: float
    exponent: float

    def __call__(self, x: Floats | float) -> Floats:
        """y at x."""
        return np.exp(self.log_k + self.exponent * np.log(x))

    def inverse(self, y: Floats | float) -> Floats:
        """The x of y."""
        return np.exp((np.log(y) - self.log_k) / self.exponent)


@dataclass(frozen=True)
class PowerLaws:
    """One power law per resample: `log_k` and `exponent`, each (resamples,), NaN where none."""

    log_k: Floats
    exponent: Floats

    @property
    def first(self) -> PowerLaw:
        """The first of them."""
        return PowerLaw(float(self.log_k[0]), float(self.exponent[0]))

    def __call__(self, x: float) -> Floats:
        """y of every resample at x."""
        return np.exp(self.log_k + self.exponent * np.log(x))


def fit_power_law(x: Floats, y: Floats) -> PowerLaw:
    """The line through (ln x, ln y), all points alike; two points give it without a residual."""
    exponent, log_k = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(log_k), float(exponent))


def fit_power_laws(log_x: Floats, log_y: Floats, weights: Floats | None = None) -> PowerLaws:
    """The laws of S series `log_y` (S, P) at common points `log_x` (P,), by weighted least squares.

    `weights` (S, P), by default 1. Points of weight 0 and NaN points are left out; series
    without two distinct x give NaN.
    """
    used = np.isfinite(log_y) & (True if weights is None else weights > 0)
    w = used.astype(float) if weights is None else np.where(used, weights, 0.0)
    y = np.where(used, log_y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = w.sum(axis=1)
        mean_x, mean_y = (w * log_x).sum(axis=1) / total, (w * y).sum(axis=1) / total
        dx = log_x - mean_x[:, None]
        exponent = (w * dx * (y - mean_y[:, None])).sum(axis=1) / (w * dx**2).sum(axis=1)
    exponent = np.where(spread_of(log_x, used) > 0, exponent, np.nan)
    return PowerLaws(mean_y - exponent * mean_x, exponent)


def along(x: Floats, y: Floats, at: float) -> float:
    """y at `at` by lines between the points, and beyond them along the last two."""
    i = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    return float(y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]))


def spread_of(log_x: Floats, used: NDArray[np.bool_]) -> Floats:
    """How far apart the points of each series in `used` (S, P) lie; -inf without any."""
    high = np.where(used, log_x, -np.inf).max(axis=1, initial=-np.inf)
    return high - np.where(used, log_x, np.inf).min(axis=1, initial=np.inf)


def power_equation(
    form: str, law: PowerLaw | None, resampled: PowerLaws | None, level: float
) -> Equation:
    """A `form` like k*C^a with percentile intervals from resampled laws; unknown where the law has
    no exponent."""
    k, name = form[0], form.rpartition("^")[2]
    if law is None or resampled is None or not np.isfinite(law.exponent):
        return Equation(form, {k: None, name: None}, {k: None, name: None}, level)
    with np.errstate(over="ignore"):
        values: dict[str, float | None] = {k: float(np.exp(law.log_k)), name: law.exponent}
        samples = {k: np.exp(resampled.log_k), name: resampled.exponent}
    interval = {n: percentile_interval(drawn, level) for n, drawn in samples.items()}
    return Equation(form, values, interval, level)


def power_equations(
    laws: Mapping[str, PowerLaw], resampled: Mapping[str, PowerLaws], level: float
) -> dict[str, Equation]:
    """N = k·C^a, D = k·C^b and L = k·C^c; unknown without a law."""
    return {
        name: power_equation(f"k*C^{power}", laws.get(name), resampled[name], level)
        for name, power in (("N", "a"), ("D", "b"), ("L", "c"))
    }
