"""A line through points of known uncertainty that may lie off it by more than that.

To the variance of each point one more is added, equal for all: what budgets differ by beyond the
noise of their losses (a random-effects meta-regression). With few points its size is hardly known,
so the resamples draw it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import chdtrc

from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws, fit_power_laws

DOUBT = 0.25  # degrees of freedom more in the draws; by simulation, see docs/study-laws.md
TRIED = np.concatenate([[0.0], np.geomspace(1e-4, 1e12, 321)])  # of the typical variance


@dataclass(frozen=True)
class Scattered:
    """Points (P,) of a power law: ln x, ln y and the variance of ln y from noise."""

    log_x: Floats
    log_y: Floats
    noise: Floats

    @property
    def freedom(self) -> int:
        """Degrees of freedom about the line."""
        return len(self.log_x) - 2

    @cached_property
    def _squares(self) -> Floats:
        """Weighted squares about the line for each variance of scatter tried; they fall."""
        w = 1 / (self.noise + np.median(self.noise) * TRIED[:, None])
        laws = fit_power_laws(self.log_x, np.broadcast_to(self.log_y, w.shape), w)
        off = self.log_y - laws.log_k[:, None] - laws.exponent[:, None] * self.log_x
        squares: Floats = (w * off**2).sum(axis=1)
        return squares

    def variance(self, squares: Floats) -> Floats:
        """The scatter ≥ 0 with which the weighted squares are `squares` (S,); 0 for two points.

        At the degrees of freedom that is the estimate of Paule and Mandel (1982); at draws of χ² of
        as many it is the uncertainty of that estimate.
        """
        if self.freedom < 1:
            return np.zeros(len(squares))
        found: Floats = np.interp(-squares, -self._squares, np.median(self.noise) * TRIED)
        return found

    @cached_property
    def scatter(self) -> float:
        """The variance of ln y beyond noise."""
        return float(self.variance(np.array([self.freedom]))[0])

    @property
    def chi_squared(self) -> float:
        """χ² per degree of freedom about the line, without scatter; NaN for two points."""
        return float(self._squares[0]) / self.freedom if self.freedom > 0 else np.nan

    @property
    def p_value(self) -> float:
        """How often noise alone leaves the points so far off their line; 1 for two points."""
        return float(chdtrc(self.freedom, self._squares[0])) if self.freedom > 0 else 1.0

    def laws(self, log_y: Floats) -> PowerLaws:
        """The line through each series (S, P), with the weights of these points."""
        weights = 1 / (self.noise + self.scatter)
        return fit_power_laws(self.log_x, log_y, np.broadcast_to(weights, log_y.shape))

    @property
    def law(self) -> PowerLaw:
        """The line through the points."""
        return self.laws(self.log_y[None]).first

    def drawn(self, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        """Scatter of ln y, (S, P): each row of a size that the points allow."""
        size = np.sqrt(self.variance(rng.chisquare(max(self.freedom, 1) + DOUBT, shape[0])))
        return size[:, None] * rng.standard_normal(shape)
