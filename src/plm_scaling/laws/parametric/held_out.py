"""Does a parametric law predict runs of larger compute than those it is fitted to."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from plm_scaling.common.progress import many
from plm_scaling.laws import details
from plm_scaling.laws.details import LossErrors, NotAvailable, loss_errors, not_available
from plm_scaling.laws.parametric.implied import surface_loss
from plm_scaling.laws.parametric.influence import OUTLIER, robust_scale
from plm_scaling.laws.parametric.optima import find_optima
from plm_scaling.laws.parametric.runs import MIN_RUNS, Runs
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval
from plm_scaling.laws.status import Check, Limit
from plm_scaling.laws.verdict import around

HELD_OUT_RESAMPLES = 200
MAX_LISTED = 50
BEYOND_INTERVAL = 1.5  # a right law is then off by more in under 1 % of sweeps
LEAST_ERROR = 1e-3  # nats; less is no error
MAJORITY = 5  # runs of which most can tell which one is the odd one


class PredictedRun(TypedDict):
    """A held-out run, its loss and the predicted one, nats/token."""

    n_params: float
    tokens: float
    flops: float
    measured: float
    predicted: float
    predicted_interval: Interval | None


class Errors(LossErrors):
    """The interval of the mean error holds the scatter of the runs as well."""

    mean_error_interval: Interval | None


class HeldOut(details.HeldOut):
    """The runs of largest compute predicted from the others, at most MAX_LISTED of them listed."""

    n_predicted: int
    loss: Errors
    runs: list[PredictedRun]


def held_out_check(
    runs: Runs, delta: float, above: float | None, bootstrap: int, level: float, seed: int
) -> HeldOut | NotAvailable:
    """Fit the runs of at most `above` FLOPs (None: all but the largest budget), predict the others.

    Errors are predicted − measured, in nats. The interval of a prediction is that of resampled fits
    (at most HELD_OUT_RESAMPLES); that of the mean error holds the scatter of the runs as well. The
    mean is without gross outliers, which say nothing of the law.
    """
    flops = runs.flops
    if above is None:
        held_out = np.zeros(len(flops), bool)
        held_out[group_budgets(flops)[-1][1]] = True
    else:
        held_out = flops > above
    if not held_out.any():
        return not_available(f"no run has more than {above:.3g} FLOPs")
    fitted, others = runs.some(~held_out), runs.some(held_out)
    if fitted.distinct < MIN_RUNS:
        return not_available(
            f"{fitted.distinct} distinct runs remain without the largest budget; {MIN_RUNS} are "
            "needed"
        )
    surface = fitted.surface(delta)
    optima = find_optima(surface)
    if not optima:
        return not_available("the fit without the runs of largest compute failed")
    theta = optima[0].theta
    resampled = fitted.refits(surface, optima, min(bootstrap, HELD_OUT_RESAMPLES), seed)
    at = others.n_params[:, None], others.tokens[:, None]
    predicted = surface_loss(surface.natural(theta[None]).T, *at)[:, 0]
    drawn = surface_loss(surface.natural(resampled).T, *at)
    residuals = surface.log_prediction(theta[None])[0] - surface.log_loss
    scatter = robust_scale(residuals) * others.loss.mean()
    luck = np.random.default_rng(seed).standard_normal(len(resampled))
    luck *= scatter / np.sqrt(others.units)
    rows: list[PredictedRun] = [
        {
            "n_params": float(others.n_params[i]),
            "tokens": float(others.tokens[i]),
            "flops": float(others.flops[i]),
            "measured": float(others.loss[i]),
            "predicted": float(predicted[i]),
            "predicted_interval": _interval(float(predicted[i]), drawn[i], level),
        }
        for i in np.argsort(others.flops, kind="stable")[-MAX_LISTED:]
    ]
    errors = predicted - others.loss
    usual = _usual(errors, scatter)
    means = (drawn - others.loss[:, None])[usual].mean(axis=0) + luck
    return {
        "status": Check.DONE,
        "fitted_on_flops": [float(fitted.flops.min()), float(fitted.flops.max())],
        "predicted_at_flops": float(np.exp(np.log(others.flops).mean())),
        "n_predicted": len(others.loss),
        "loss": {
            **loss_errors(errors[usual]),
            "mean_error_interval": _interval(float(errors[usual].mean()), means, level),
        },
        "runs": rows,
    }


def _usual(errors: Floats, scatter: float) -> NDArray[np.bool_]:
    """Which errors are no outliers among the others, whatever these have in common; `scatter` is
    that of a run about the law, nats. Of few runs all count."""
    off = np.abs(errors - np.median(errors))
    spread = max(scatter, 1.4826 * float(np.median(off)))
    return (off <= OUTLIER * spread) | (len(errors) < MAJORITY)


def _interval(value: float, samples: Floats, level: float) -> Interval | None:
    """None where the resamples exclude the value: of a check that is no verdict on the law."""
    interval = percentile_interval(samples, level)
    return interval and around(value, interval)


def held_out_limit(check: HeldOut | NotAvailable) -> Limit | None:
    """The mean held-out error, and how large it may be; None where that is not known."""
    if check["status"] != Check.DONE or check["loss"]["mean_error_interval"] is None:
        return None
    (low, high), error = check["loss"]["mean_error_interval"], check["loss"]["mean_error"]
    side = error - low if error > 0 else high - error
    runs, largest = check["n_predicted"], check["fitted_on_flops"][1]
    return {
        "what": f"the mean error of the prediction for {many(runs, 'run')} above {largest:.3g} "
        "FLOPs",
        "value": error,
        "allowed": max(BEYOND_INTERVAL * side, LEAST_ERROR),
        "unit": "nats",
    }
