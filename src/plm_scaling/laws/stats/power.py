"""Power laws y = k·x^p by least squares of ln y on ln x, for one series or for many at once."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(log_k)·x^exponent."""

    log_k: float
    exponent: float

    def __call__(self, x: Floats | float) -> Floats:
        """y at x."""
        return np.exp(self.log_k + self.exponent * np.log(x))


@dataclass(frozen=True)
class PowerLaws:
    """One power law per resample: `log_k` and `exponent`, each (resamples,), NaN where none."""

    log_k: Floats
    exponent: Floats

    def __call__(self, x: float) -> Floats:
        """y of every resample at x."""
        return np.exp(self.log_k + self.exponent * np.log(x))


def fit_power_law(x: Floats, y: Floats) -> PowerLaw:
    """The line through (ln x, ln y), all points alike; two points give it without a residual."""
    exponent, log_k = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(log_k), float(exponent))


def fit_power_laws(log_x: Floats, log_y: Floats) -> PowerLaws:
    """The laws of S series `log_y` (S, P) at common points `log_x` (P,).

    NaN points are left out; series with fewer than two points give NaN.
    """
    used = np.isfinite(log_y)
    count = used.sum(axis=1)
    x = np.where(used, log_x, 0.0)
    y = np.where(used, log_y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = x.sum(axis=1) / count, y.sum(axis=1) / count
        dx = np.where(used, log_x - mean_x[:, None], 0.0)
        exponent = (dx * (y - mean_y[:, None])).sum(axis=1) / (dx**2).sum(axis=1)
    return PowerLaws(mean_y - exponent * mean_x, exponent)


def power_equation(name: str, law: PowerLaw | None, resampled: PowerLaws, level: float) -> Equation:
    """The JSON form of k·C^`name` with percentile intervals from resampled laws."""
    interval: dict[str, Interval | None] = {"k": None, name: None}
    if law is None:
        return Equation(f"k*C^{name}", {"k": None, name: None}, interval, level)
    with np.errstate(over="ignore"):
        interval["k"] = percentile_interval(np.exp(resampled.log_k), level)
    interval[name] = percentile_interval(resampled.exponent, level)
    values: dict[str, float | None] = {"k": float(np.exp(law.log_k)), name: law.exponent}
    return Equation(f"k*C^{name}", values, interval, level)
