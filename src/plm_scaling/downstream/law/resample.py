"""A series fitted, and fitted again to resamples of its cells with the errors of their items."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from plm_scaling.downstream.law.forms import Fits, Form, fit_form, n_parameters
from plm_scaling.downstream.law.series import Series
from plm_scaling.laws.result import Equation
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.intervals import Floats, Interval, multiplicities, percentile_interval

EQUATIONS = {
    Form.CONSTANT: "S",
    Form.LINE: "a + b*L",
    Form.EXPONENTIAL: "S0 + k*exp(-g*L)",
    Form.PARABOLA: "S_peak - q*(L - L_peak)^2",
}


@dataclass(frozen=True)
class Fitted:
    """A form of a series: the estimate (one row of `own`) and the resamples."""

    series: Series
    own: Fits
    drawn: Fits
    weights: Floats
    """(b, n) times that each cell is drawn."""
    scores: Floats
    """(b, n) with the errors of the items."""
    level: float

    @property
    def scale(self) -> tuple[float, float]:
        """Middle and half range of the losses: x = (L - middle)/half."""
        return scale_of(self.series.loss)

    def interval(self, drawn: Floats) -> Interval | None:
        """Of resamples (b,), at the level; None without resamples."""
        return percentile_interval(drawn, self.level) if len(drawn) else None

    def at(self, loss: Floats, begins: float | None = None) -> tuple[Floats, Floats]:
        """The score at losses (m,), and of each resample (b, m). An exponential begins at the
        score of the untrained cells, their mean if not told."""
        middle, half = self.scale
        x = (loss - middle) / half
        if self.own.begins is None or self.drawn.begins is None:
            return self.own.at(x)[0], self.drawn.at(x)
        known = self.own.begins.mean() if begins is None else begins
        shift = (self.drawn.begins - self.own.begins).mean(axis=1, keepdims=True)
        return self.own.at(x, np.full((1, len(x)), known))[0], self.drawn.at(x, known + shift)

    def equation(self) -> Equation:
        """The form in L, with intervals."""
        values = {name: float(v[0]) for name, v in _natural(self.own, *self.scale).items()}
        drawn = _natural(self.drawn, *self.scale)
        interval = {name: self.interval(drawn[name]) for name in values}
        known: Any = {name: v if np.isfinite(v) else None for name, v in values.items()}
        return Equation(EQUATIONS[self.own.form], known, interval, self.level)


def scale_of(loss: Floats) -> tuple[float, float]:
    """Middle and half range."""
    return float((loss.max() + loss.min()) / 2), float(np.ptp(loss) / 2)


def fit_resampled(series: Series, form: Form, settings: Settings) -> Fitted:
    """The form of all cells and of resamples: cells drawn with replacement, each score moved by its
    standard error as though scored on other items. That is cautious: cells share their items, so
    their differences are known better than each score."""
    middle, half = scale_of(series.loss)
    x = (series.loss - middle) / half
    free = series.begins is None
    rate = form == Form.EXPONENTIAL
    n, b = len(x), settings.bootstrap
    rng = np.random.default_rng(settings.seed)
    weights = multiplicities(n, b, settings.seed, parameters=n_parameters(form, free) + rate)
    scores = series.score + series.error * rng.standard_normal((b, n))
    begins, moved = None, None
    if series.begins is not None:
        begins = series.begins[None]
        moved = begins + series.begins_error * rng.standard_normal((b, 1))
    own = fit_form(form, x, series.score[None], np.ones((1, n)), begins)
    drawn = fit_form(form, x, scores, weights, moved)
    return Fitted(series, own, drawn, weights, scores, settings.level)


def _natural(fits: Fits, middle: float, half: float) -> dict[str, Floats]:
    """Parameters (b,) in L of `EQUATIONS`."""
    c = fits.coefficients.T
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if fits.form == Form.CONSTANT:
            return {"S": c[0]}
        if fits.form == Form.LINE:
            slope = c[1] / half
            return {"a": c[0] - slope * middle, "b": slope}
        if fits.form == Form.PARABOLA:
            peak = -c[1] / (2 * c[2])
            return {
                "S_peak": c[0] + c[1] * peak / 2,
                "q": -c[2] / half**2,
                "L_peak": middle + half * peak,
            }
        rate = fits.rate / half
        begins = c[0] if fits.begins is None else fits.begins.mean(axis=1)
        return {"S0": begins, "k": c[-1] * np.exp(rate * middle), "g": rate}
