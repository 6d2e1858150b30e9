"""Compute-optimal sizes from IsoFLOP parabolas (approach 2 of Hoffmann et al. 2022).

In each budget C a quadratic in ln N is fitted to the losses near the lowest; its vertex is N_opt,
and D_opt the tokens that runs of this size have there: C/(6·N_opt) where C is 6·N·D. N = k·C^a,
D = k·C^b and L = k·C^c are lines through the logarithms of the accepted vertices, weighted by what
is known of each (`stats.scatter`). A minimum counts only if noise would leave it inside its sizes
nearly always, and then it counts in every resample.

Runs a few per cent off their budget are moved to it along the slope of the lowest losses in C. Only
runs within a window of the lowest loss are used, because far wings bend the parabola. How intervals
are made is said in `resample`, what they do not cover is measured in `bias`.
"""

import numpy as np
import pandas as pd
from scipy.special import ndtri
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import as_floats, check_lengths, check_runs, compute_warning
from plm_scaling.laws.details import (
    Bootstrap,
    HeldOutOptimum,
    NotAvailable,
    held_out_loss,
    held_out_size,
    not_available,
)
from plm_scaling.laws.isoflop.bias import Bias, parabola_bias
from plm_scaling.laws.isoflop.minima import Minima, find_minima
from plm_scaling.laws.isoflop.parabola import (
    MIN_SIZES,
    STEADY,
    WINDOW,
    MinimumRow,
    Parabola,
)
from plm_scaling.laws.isoflop.resample import WINDOW_FACTOR
from plm_scaling.laws.points import isoflop_points
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.budgets import REACH, TOLERANCE
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    Interval,
    check_settings,
    percent,
    percentile_interval,
)
from plm_scaling.laws.stats.loss_law import LossFit, loss_equation
from plm_scaling.laws.stats.power import power_equation
from plm_scaling.laws.stats.scatter import Scattered
from plm_scaling.laws.status import Check, Evidence, Minimum

METHOD = (
    "quadratic in ln N per IsoFLOP budget (runs of one `budget`, or apart from others by a plain "
    f"gap in FLOPs, or within {percent(TOLERANCE)} of each other, others within {percent(REACH)}; "
    "moved to the budget along the slope of the lowest losses), on the runs within {window:g} nats "
    "of the lowest loss; vertex inside their sizes with a probability of at least "
    f"{percent(STEADY)}; power laws by least squares in log-log over the vertices, weighted by the "
    "variance of each from noise plus that of their scatter beyond it (Paule and Mandel); "
    "intervals by a residual bootstrap given the sizes and the accepted budgets, the window drawn "
    f"between 1/{WINDOW_FACTOR:g} and {WINDOW_FACTOR:g} times its width and the scatter from its "
    "uncertainty{noise}; residual_rms in nats, objective_value their sum of squares"
)
LARGE_BIAS = 0.25  # of the interval's half-width
OFF_LINE = 0.01  # a scatter of the minima beyond their noise that noise makes this rarely is said


class Scatter(TypedDict):
    """How far ln N of the minima lies off the power law: standard deviation beyond noise, and χ²
    per degree of freedom against noise alone; None for two minima."""

    log_n_sd: float | None
    chi_squared: float | None


class Details(TypedDict):
    """The tables of an IsoFLOP law; `window` and `noise` (of a run's loss) in nats."""

    minima: list[MinimumRow]
    frontier: list[FrontierRow]
    held_out: HeldOutOptimum | NotAvailable
    window: float
    bias: Bias | NotAvailable
    scatter: Scatter
    noise: float | None
    bootstrap: Bootstrap


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of `runs`: see `study.laws`."""
    return fit_isoflop(**isoflop_points(runs, curves), **settings.resampling)


def fit_isoflop(
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    loss: Floats,
    loss_sd: Floats | None = None,
    budget: Floats | None = None,
    *,
    window: float = WINDOW,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Fit N_opt(C), D_opt(C) and L_opt(C) to runs, all arrays of shape (n,).

    `n_params` non-embedding, `tokens` and `flops` of training, `loss` in nats/token, `loss_sd` its
    noise in nats where it has been measured (`laws.stats.noise`), `budget` the compute that a run
    was meant to have (NaN: not told), by which runs are grouped, `window` in nats. Fewer than two
    accepted budgets give status not_identified and no parameters. Raises LawError on
    values that are not positive and finite.
    """
    check_settings(bootstrap, level)
    n_params, tokens, flops, loss = check_runs(
        n_params=n_params, tokens=tokens, flops=flops, loss=loss
    )
    if loss_sd is not None:
        loss, loss_sd = check_runs(loss=loss, loss_sd=loss_sd)
    if not window > 0:
        raise LawError(f"the IsoFLOP window is {window}; give a positive number of nats")
    if budget is not None:
        budget = as_floats("budget", budget)
        check_lengths(flops=flops, budget=budget)
    points = (n_params, tokens, flops, loss, loss_sd, budget)
    parabolas, noise, minima = find_minima(*points, window, bootstrap, seed)
    accepted = minima.accepted
    laws, resampled = minima.laws(), minima.resampled_laws()
    loss_fit = minima.loss_fit()
    equations = {
        name: power_equation(f"k*C^{power}", laws.get(name), resampled[name], level)
        for name, power in (("N", "a"), ("D", "b"))
    }
    equations["L"] = loss_fit.equation(level) if loss_fit else loss_equation(None, None, level)
    residuals = np.concatenate([p.fit.residuals for p in accepted if p.fit] or [np.array([])])
    squares, freedom = float((residuals**2).sum()), len(residuals) - 3 * len(accepted)
    sizes = iter(np.exp(minima.log_n).T)
    drawn = [next(sizes) if p.vertex else np.empty(0) for p in parabolas]
    bias = parabola_bias(parabolas, minima.sizes)
    warnings = [*noise.warnings(), *_warnings(parabolas, minima, bootstrap)]
    warnings += loss_fit.warnings if loss_fit else []
    warnings += _bias_warning(bias, equations["N"].interval["a"])
    warnings += compute_warning(
        n_params, tokens, flops, "D_opt is read off the tokens of the runs, and a + b is not 1"
    )
    held_out, limit = _held_out(minima, level)
    rows = frontier_rows(minima.budgets, laws, resampled, level, loss_fit) if laws else []
    return LawResult(
        law="isoflop",
        method=METHOD.format(
            window=window, noise="" if loss_sd is None else ", residuals no smaller than loss_sd"
        ),
        n_points=int(sum(p.used.sum() for p in accepted)),
        equations=equations,
        objective_value=squares if accepted else None,
        residual_rms=float(np.sqrt(squares / freedom)) if accepted else None,
        warnings=warnings,
        details={
            "minima": [
                p.row(percentile_interval(n, level)) for p, n in zip(parabolas, drawn, strict=True)
            ],
            "frontier": rows,
            "held_out": held_out,
            "window": window,
            "bias": bias,
            "scatter": _scatter(minima.sizes),
            "noise": None if loss_sd is None else float(np.median(loss_sd)),
            "bootstrap": {
                "kind": "residuals within the sweep's sizes",
                "resamples": bootstrap,
                "seed": seed,
            },
        },
        evidence={"points": len(accepted), **limit},
    )


def _scatter(sizes: Scattered) -> Scatter:
    if sizes.freedom < 1:
        return {"log_n_sd": None, "chi_squared": None}
    return {"log_n_sd": float(np.sqrt(sizes.scatter)), "chi_squared": sizes.chi_squared}


def _held_out(minima: Minima, level: float) -> tuple[HeldOutOptimum | NotAvailable, Evidence]:
    """The largest accepted budget, predicted by the laws of the others; intervals are of the
    prediction and of the minimum that it is compared with."""
    smaller, largest = minima.without_last(), minima.accepted[-1:]
    loss_fit = smaller.loss_fit()
    if not largest or not loss_fit:
        return not_available(
            f"accepted minima: {len(minima.accepted)}; three are needed to fit two and predict one"
        ), {}
    (last,) = largest
    n, _, loss = last.vertex or (np.nan,) * 3
    of_n, of_loss = float(smaller.sizes.law(last.budget)), float(loss_fit.law(last.budget))
    with np.errstate(over="ignore", invalid="ignore"):
        off = smaller.scatter((len(minima.log_n), 1))[:, 0] - minima.log_n[:, -1]
        sizes = smaller.resampled_laws()["N"](last.budget) * n * np.exp(off)
    reach = _reach(loss_fit, last, of_loss, level)
    interval = reach and (of_loss - reach[0], of_loss + reach[1])
    check: HeldOutOptimum = {
        "status": Check.DONE,
        "fitted_on_flops": [p.budget for p in smaller.accepted],
        "predicted_at_flops": last.budget,
        "n_params": held_out_size(n, of_n, percentile_interval(sizes, level)),
        "loss": held_out_loss(loss, of_loss, interval),
    }
    if reach is None or len(smaller.accepted) < 3:  # a line through two shows no floor
        return check, {}
    return check, {
        "held_out": {
            "what": f"the held-out error of the loss at C={last.budget:.3g}",
            "value": of_loss - loss,
            "allowed": reach[0 if of_loss > loss else 1],
            "unit": "nats",
        }
    }


def _reach(fit: LossFit, last: Parabola, predicted: float, level: float) -> Interval | None:
    """How far below and above a prediction the loss of a minimum may lie."""
    interval = fit.interval(last.budget, level)
    if interval is None or last.sd is None:
        return None
    noise = float(ndtri((1 + level) / 2)) * last.sd[1]
    low, high = np.hypot(np.abs(np.subtract(interval, predicted)), noise)
    return float(low), float(high)


def _warnings(parabolas: list[Parabola], minima: Minima, bootstrap: int) -> list[str]:
    several = [p for p in parabolas if p.n_sizes >= MIN_SIZES]
    warnings = [
        f"no minimum used at C={p.budget:.3g}: {p.reason()}"
        for p in several
        if p.status != Minimum.ACCEPTED
    ]
    if few := len(parabolas) - len(several):
        warnings.append(
            f"{few} of {len(parabolas)} budgets have fewer than {MIN_SIZES} sizes and "
            "give no minimum; their runs are not used"
        )
    accepted = len(minima.accepted)
    if accepted < 2:
        warnings.append(
            f"{accepted} of {len(parabolas)} budgets have a minimum; a power law needs two. "
            "Add sizes around the lowest losses, or budgets"
        )
        return warnings
    if accepted == 2:
        warnings.append(
            "two minima: the power laws go through both exactly, so nothing shows whether a power "
            "law holds"
        )
    if minima.sizes.p_value < OFF_LINE:
        warnings.append(
            "the minima lie off their power law by more than noise (χ² per degree of freedom "
            f"{minima.sizes.chi_squared:.1f}); intervals hold a scatter of "
            f"{np.sqrt(minima.sizes.scatter):.2g} in ln N"
        )
    if not bootstrap:
        warnings.append(NO_BOOTSTRAP)
    return warnings


def _bias_warning(bias: Bias | NotAvailable, interval: Interval | None) -> list[str]:
    """A sentence if the bias of parabolas on this grid is large against the interval."""
    if bias["status"] == Check.NOT_AVAILABLE or interval is None:
        return []
    if abs(bias["a"]) <= LARGE_BIAS * (interval[1] - interval[0]) / 2:
        return []
    return [
        f"parabolas on these sizes and budgets are off by {bias['a']:+.3f} in a even without noise "
        "(simulated from the fitted surface); the interval does not include it"
    ]
