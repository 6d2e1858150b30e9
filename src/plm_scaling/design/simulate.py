"""What a sweep teaches: it is done many times on truths that the prior leaves possible, and its
runs go through the law code that will judge the real ones.

Each cell, budget and truth has a random stream of its own, so two designs meet the same truths and
the same luck in the cells that they share, and their difference is the design's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from plm_scaling.design.prior import Prior
from plm_scaling.design.request import Asked
from plm_scaling.laws.isoflop.minima import Minima, find_minima
from plm_scaling.laws.isoflop.parabola import WINDOW
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval
from plm_scaling.planner.surface import Surface
from plm_scaling.study.cell import Cell

RESAMPLES = 200  # of each simulated fit; the width of one is then known to some 5 %
LEVEL = 0.95
RELIABLE = 0.9  # least share of the intervals that is to hold the truth
SEED = 23
OF_TRUTH, OF_BUDGET, OF_CELL = range(3)


class Point(NamedTuple):
    """A run of a sweep."""

    n_params: int
    tokens: int
    budget: float
    seed: int


class Known(NamedTuple):
    """What one sweep says: the answer and its interval, NaN without a law."""

    value: float
    low: float
    high: float


NOTHING = Known(np.nan, np.nan, np.nan)


def points_of(cells: Iterable[Cell]) -> list[Point]:
    """The runs of cells; of several settings of a place in the sweep the law takes the best, which
    is one run."""
    points: dict[tuple[float, int, int], Point] = {}
    for c in cells:
        point = Point(c.n_params, c.tokens, c.flops_budget, c.seed)
        points.setdefault((c.flops_budget, c.n_params, c.seed), point)
    return [*points.values()]


@dataclass(frozen=True)
class Expected:
    """What so many simulated sweeps say; arrays (draws,), NaN where one found no law."""

    truth: Floats
    value: Floats
    low: Floats
    high: Floats

    @cached_property
    def half_width(self) -> float:
        """Median half-width of the interval; infinite where half of the sweeps find no law.

        Where fewer than `RELIABLE` of the intervals hold the truth, they are widened until so many
        would: an interval that is too narrow is no precision.
        """
        widths = np.where(np.isnan(self.value), np.inf, self.high - self.low) / 2
        found = np.isfinite(widths)
        off = np.abs(self.value - self.truth)[found] / widths[found]
        widened = max(1.0, float(np.quantile(off, RELIABLE))) if found.any() else 1.0
        return float(np.median(widths)) * widened

    @property
    def answered(self) -> float:
        """Share of the sweeps that found a law."""
        return float(np.isfinite(self.value).mean())

    @property
    def coverage(self) -> float:
        """Share of the intervals found that hold the truth; NaN if none was."""
        found = np.isfinite(self.value)
        if not found.any():
            return float("nan")
        return float(((self.low <= self.truth) & (self.truth <= self.high))[found].mean())

    @property
    def error(self) -> float:
        """Median distance from the truth; infinite where half of the sweeps find no law."""
        off = np.where(np.isnan(self.value), np.inf, np.abs(self.value - self.truth))
        return float(np.median(off))


def together(parts: Iterable[Expected]) -> Expected:
    """Of several series of sweeps."""
    arrays = zip(*((one.truth, one.value, one.low, one.high) for one in parts), strict=True)
    return Expected(*map(np.concatenate, arrays))


def expect(asked: Asked, points: Sequence[Point], prior: Prior, draws: Sequence[int]) -> Expected:
    """What a sweep of these runs is expected to say, on the truths of these numbers."""
    last = max(draws) + 1
    noise = np.array([_stream(OF_CELL, *_key(p), draws=last) for p in points]) * prior.noise
    budgets = sorted({p.budget for p in points})
    scatter = [_stream(OF_BUDGET, _code(c), draws=last) * prior.scatter for c in budgets]
    n, d = (np.array([p[i] for p in points], float) for i in (0, 1))
    budget = np.array([p.budget for p in points])
    said = []
    for i in draws:
        truth = prior.truth(np.random.default_rng([SEED, OF_TRUTH, i]))
        loss = noise[:, i].copy()
        for c, moved in zip(budgets, scatter, strict=True):
            at = budget == c
            surface = truth.moved(float(np.exp(moved[i])))
            loss[at] += surface.loss(surface.equivalent(n[at], d[at]))
        said.append((_truth(asked, truth), *answer(asked, n, d, loss, budget)))
    return Expected(*np.array(said).T)


def _truth(asked: Asked, surface: Surface) -> float:
    if asked.kind == "exponent":
        return surface.a
    flops = asked.flops or 1.0
    return float(np.log(surface.size(flops)) if asked.kind == "size-at" else surface.loss(flops))


def answer(asked: Asked, n_params: Floats, tokens: Floats, loss: Floats, budget: Floats) -> Known:
    """What the IsoFLOP law of some runs (arrays (n,)) says."""
    flops = 6 * n_params * tokens
    found = (n_params, tokens, flops, loss, None, budget)
    _, _, minima = find_minima(*found, WINDOW, RESAMPLES, SEED)
    if len(minima.accepted) < 2:
        return NOTHING
    value, interval = _answer(asked, minima)
    return NOTHING if interval is None else Known(value, *interval)


def _answer(asked: Asked, minima: Minima) -> tuple[float, Interval | None]:
    flops = asked.flops or 1.0
    if asked.kind == "loss-at":
        fit = minima.loss_fit()
        assert fit is not None
        return float(fit.law(flops)), fit.interval(flops, LEVEL)
    law, resampled = minima.laws()["N"], minima.resampled_laws()["N"]
    if asked.kind == "exponent":
        return law.exponent, percentile_interval(resampled.exponent, LEVEL)
    log_c = np.log(flops)
    sizes = resampled.log_k + resampled.exponent * log_c
    return law.log_k + law.exponent * log_c, percentile_interval(sizes, LEVEL)


def _key(point: Point) -> tuple[int, int, int]:
    return _code(point.budget), point.n_params, point.seed


def _code(flops: float) -> int:
    """The compute as a whole number that tells budgets apart."""
    return round(1e4 * float(np.log(flops)))


def _stream(*key: int, draws: int) -> Floats:
    """Normal random numbers (draws,) of one kind of thing."""
    return np.random.default_rng([SEED, *key]).standard_normal(draws)
