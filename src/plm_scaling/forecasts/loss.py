"""The loss of a run to come, from the parametric surface L(N, D) of finished runs.

Three things that are independent make the interval, as the root of the sum of their squares:
what resampled runs leave open of the surface, the scatter of a run about it, and what the surface
missed so far: fitted to the runs of less compute, how far was it off for the others? Without the
last, intervals hold as long as the form is right, and on logs of real runs it is not
(docs/forecasts.md).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from plm_scaling.common.errors import LawError
from plm_scaling.forecasts.record import LEAST_BUDGETS, LEVEL, LossForecast
from plm_scaling.laws.parametric.implied import surface_loss
from plm_scaling.laws.parametric.influence import robust_scale
from plm_scaling.laws.parametric.optima import Optimum, find_optima
from plm_scaling.laws.parametric.runs import MIN_RUNS, Runs
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import Floats, percentile_interval
from plm_scaling.laws.status import Check

RESAMPLES = 200
SEED = 1
ENOUGH = 2 * MIN_RUNS  # distinct runs, of which hardly a resample has fewer than MIN_RUNS
LEAST_HINDCAST = 3  # runs; the error of one may be small by luck
TOO_FEW = (
    "{runs} distinct runs at {budgets} budgets; to learn how far forecasts are off, at least "
    f"{MIN_RUNS} at {LEAST_BUDGETS - 1} budgets must be below the largest"
)


def forecast_losses(
    runs: Runs, n_params: Floats, tokens: Floats, huber_delta: float
) -> list[LossForecast]:
    """Of one run for each N and D, shapes (n,), of about the same compute, beyond that of `runs`.

    Raises LawError where `runs` are too few.
    """
    missed, n_missed = hindcast(runs, float((6 * n_params * tokens).max()), huber_delta)
    fit = _Fit.of(runs, huber_delta)
    predicted = fit.loss(fit.best, n_params, tokens)[:, 0]
    samples = runs.refits(fit.surface, fit.optima, RESAMPLES, SEED)
    drawn = fit.loss(samples, n_params, tokens)
    wide = float(special.stdtrit(max(len(runs.loss) - len(NAMES), 1), (1 + LEVEL) / 2))
    narrow = float(special.ndtri((1 + LEVEL) / 2))
    forecasts: list[LossForecast] = []
    for value, of_law in zip(map(float, predicted), drawn, strict=True):
        interval = percentile_interval(of_law, LEVEL)
        if interval is None:
            raise LawError(_no_interval(runs.distinct))
        scatter = fit.scatter * value
        down, up = (
            float(np.hypot(max(reach, 0.0), np.hypot(wide * scatter, narrow * missed)))
            for reach in (value - interval[0], interval[1] - value)
        )
        forecasts.append(
            {
                "status": Check.DONE,
                "law": "parametric",
                "predicted": value,
                "low": value - down,
                "high": value + up,
                "law_interval": interval,
                "run_sd": scatter,
                "hindcast_rms": missed,
                "hindcast_runs": n_missed,
            }
        )
    return forecasts


def _no_interval(distinct: int) -> str:
    """Why resamples of so many distinct runs leave no interval."""
    if distinct < ENOUGH:
        return (
            f"{distinct} distinct runs are too few to resample: half of the resamples or more have "
            f"fewer than {MIN_RUNS}; {ENOUGH} would do"
        )
    return "half of the resampled runs or more gave no surface"


def hindcast(runs: Runs, flops: float, huber_delta: float) -> tuple[float, int]:
    """Root mean square error (nats) of predictions that could have been checked, and of how many.

    The surface of the runs up to some budget predicts the others, as far beyond it as `flops` are
    beyond all runs. Where the runs do not reach so far, errors count in proportion to the distance
    in ln C, as those of a form that bends do. Raises LawError where `runs` are too few.
    """
    budgets = group_budgets(runs.flops)
    cuts = [float(runs.flops[members].max()) for _, members in budgets]
    known = [
        cut
        for number, cut in enumerate(cuts[:-1], 1)
        if number >= LEAST_BUDGETS - 1 and runs.some(runs.flops <= cut).distinct >= MIN_RUNS
    ]
    if not known:
        raise LawError(TOO_FEW.format(runs=runs.distinct, budgets=len(budgets)))
    top = float(runs.flops.max())
    far = [
        cut
        for cut in known
        if top / cut >= flops / top and (runs.flops > cut).sum() >= LEAST_HINDCAST
    ]
    cut = far[-1] if far else known[0]
    below = runs.flops <= cut
    fit, others = _Fit.of(runs.some(below), huber_delta), runs.some(~below)
    errors = fit.loss(fit.best, others.n_params, others.tokens)[:, 0] - others.loss
    short = max(1.0, float(np.log(flops / top) / np.log(top / cut)))
    return rms(errors) * short, len(errors)


@dataclass(frozen=True)
class _Fit:
    """The surface of some runs."""

    surface: Surface
    optima: list[Optimum]
    scatter: float
    """Of ln L of a run about it."""

    @classmethod
    def of(cls, runs: Runs, huber_delta: float) -> "_Fit":
        surface = runs.surface(huber_delta)
        optima = find_optima(surface)
        if not optima:
            raise LawError("the parametric fit converged from no start")
        residuals = surface.log_prediction(optima[0].theta[None])[0] - surface.log_loss
        return cls(surface, optima, robust_scale(residuals))

    @property
    def best(self) -> Floats:
        """Its parameters (1, 5)."""
        return self.optima[0].theta[None]

    def loss(self, theta: Floats, n_params: Floats, tokens: Floats) -> Floats:
        """(n, S) at parameters (S, 5), nats/token."""
        natural = self.surface.natural(theta).T
        return surface_loss(natural, n_params[:, None], tokens[:, None])
