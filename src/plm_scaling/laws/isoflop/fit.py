"""Compute-optimal sizes from IsoFLOP parabolas (approach 2 of Hoffmann et al. 2022).

In each budget C a quadratic in ln N is fitted to the losses near the lowest; its vertex is N_opt,
with D_opt = C/(6·N_opt). N = k·C^a, D = k·C^b and L = k·C^c are lines through the logarithms of the
accepted vertices; a + b = 1 by construction. A vertex outside the sizes used is no minimum.

Runs a few per cent off their budget are moved to it along the slope of the lowest losses in C. Only
runs within a window of the lowest loss are used, because far wings bend the parabola. How intervals
are made is said in `resample`, what they do not cover is measured in `bias`.
"""

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs, compute_warning
from plm_scaling.laws.details import (
    Bootstrap,
    HeldOutOptimum,
    NotAvailable,
    held_out_loss,
    held_out_size,
    not_available,
)
from plm_scaling.laws.isoflop.bias import Bias, parabola_bias
from plm_scaling.laws.isoflop.parabola import MIN_SIZES, WINDOW, MinimumRow, Parabola, fit_parabola
from plm_scaling.laws.isoflop.resample import WINDOW_FACTOR, resample_vertices
from plm_scaling.laws.points import isoflop_points
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.budgets import REACH, TOLERANCE, group_budgets, move_to_budgets
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import (
    NO_BOOTSTRAP,
    Floats,
    Interval,
    check_settings,
    percent,
    percentile_interval,
)
from plm_scaling.laws.stats.power import PowerLaw, fit_power_law, fit_power_laws, power_equations
from plm_scaling.laws.status import Check, Evidence, Minimum

METHOD = (
    "quadratic in ln N per IsoFLOP budget (runs within "
    f"{percent(TOLERANCE)} of each other in FLOPs, and others within {percent(REACH)} moved to the "
    "budget along the slope of the lowest losses), on the runs within {window:g} nats of the "
    "lowest loss; vertex inside their sizes; power laws by least squares in log-log over the "
    "vertices; intervals by a residual bootstrap given the sizes and the accepted budgets, the "
    f"window drawn between 1/{WINDOW_FACTOR:g} and {WINDOW_FACTOR:g} times its width{{noise}}; "
    "residual_rms in nats, objective_value their sum of squares"
)
VANISHED_WARNING = 0.05
LARGE_BIAS = 0.25  # of the interval's half-width


class ResidualBootstrap(Bootstrap):
    """Shares of the resamples, None without any."""

    share_without_all_minima: float | None
    share_without_exponent: float | None


class Details(TypedDict):
    """The tables of an IsoFLOP law; `window` and `noise` (of a run's loss) in nats."""

    minima: list[MinimumRow]
    frontier: list[FrontierRow]
    held_out: HeldOutOptimum | NotAvailable
    window: float
    bias: Bias | NotAvailable
    noise: float | None
    bootstrap: ResidualBootstrap


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
    *,
    window: float = WINDOW,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult[Details]:
    """Fit N_opt(C), D_opt(C) and L_opt(C) to runs, all arrays of shape (n,).

    `n_params` non-embedding, `tokens` and `flops` of training, `loss` in nats/token, `loss_sd` its
    noise in nats where it has been measured (`laws.stats.noise`), `window` in nats. Fewer than two
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
    groups = group_budgets(flops)
    moved = move_to_budgets(groups, flops, loss, MIN_SIZES)
    parabolas = [fit_parabola(c, n_params, moved, i, window) for c, i in groups]
    accepted = [p for p in parabolas if p.status == Minimum.ACCEPTED]
    budgets = np.array([p.budget for p in accepted])
    log_n, log_l, lost = resample_vertices(accepted, loss_sd, window, bootstrap, seed)
    laws = _power_laws(accepted)
    log_c = np.log(budgets)
    resampled = {
        "N": fit_power_laws(log_c, log_n),
        "D": fit_power_laws(log_c, log_c - np.log(6) - log_n),
        "L": fit_power_laws(log_c, log_l),
    }
    equations = power_equations(laws, resampled, level)
    residuals = np.concatenate([p.fit.residuals for p in accepted if p.fit] or [np.array([])])
    squares, freedom = float((residuals**2).sum()), len(residuals) - 3 * len(accepted)
    with np.errstate(over="ignore"):
        sizes = iter(np.exp(log_n).T)
    drawn = [next(sizes) if p.vertex else np.empty(0) for p in parabolas]
    minima = [p.row(percentile_interval(n, level)) for p, n in zip(parabolas, drawn, strict=True)]
    bias = parabola_bias(accepted)
    failed = float(np.isnan(resampled["N"].exponent).mean()) if bootstrap else None
    evidence = Evidence(points=len(accepted))
    if failed is not None and len(accepted) >= 2:
        evidence["failed"] = failed
    warnings = _warnings(parabolas, accepted, lost, log_n)
    warnings += _bias_warning(bias, equations["N"].interval["a"])
    warnings += compute_warning(n_params, tokens, flops)
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
            "minima": minima,
            "frontier": frontier_rows(budgets, laws, resampled, level) if laws else [],
            "held_out": _held_out(accepted),
            "window": window,
            "bias": bias,
            "noise": None if loss_sd is None else float(np.median(loss_sd)),
            "bootstrap": {
                "kind": "residuals within the sweep's sizes",
                "resamples": bootstrap,
                "seed": seed,
                "share_without_all_minima": lost,
                "share_without_exponent": failed,
            },
        },
        evidence=evidence,
    )


def _power_laws(accepted: list[Parabola]) -> dict[str, PowerLaw]:
    """N(C), D(C), L(C) through the vertices; empty with fewer than two."""
    if len(accepted) < 2:
        return {}
    c = np.array([p.budget for p in accepted])
    n, loss = np.array([p.vertex for p in accepted]).T
    return {
        "N": fit_power_law(c, n),
        "D": fit_power_law(c, c / (6 * n)),
        "L": fit_power_law(c, loss),
    }


def _held_out(accepted: list[Parabola]) -> HeldOutOptimum | NotAvailable:
    """The largest accepted budget, predicted by the power laws of the others."""
    if len(accepted) < 3:
        return not_available(
            f"accepted minima: {len(accepted)}; three are needed to fit two and predict one"
        )
    *smaller, largest = accepted
    laws = _power_laws(smaller)
    n, loss = largest.vertex or (np.nan, np.nan)
    return {
        "status": Check.DONE,
        "fitted_on_flops": [p.budget for p in smaller],
        "predicted_at_flops": largest.budget,
        "n_params": held_out_size(n, float(laws["N"](largest.budget))),
        "loss": held_out_loss(loss, float(laws["L"](largest.budget))),
    }


def _warnings(
    parabolas: list[Parabola], accepted: list[Parabola], lost: float | None, log_n: Floats
) -> list[str]:
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
    if len(accepted) < 2:
        warnings.append(
            f"{len(accepted)} of {len(parabolas)} budgets have a minimum; a power law needs two. "
            "Add sizes around the lowest losses, or budgets"
        )
        return warnings
    if len(accepted) == 2:
        warnings.append(
            "two minima: the power laws go through both exactly, so nothing shows whether a power "
            "law holds"
        )
    if lost is None:
        warnings.append(NO_BOOTSTRAP)
    elif lost > VANISHED_WARNING:
        vanished = np.isnan(log_n).mean(axis=0)
        most = int(vanished.argmax())
        warnings.append(
            f"in {percent(round(lost, 2))} of the resamples at least one minimum vanished or left "
            f"its sizes and was refused, most often that at C={accepted[most].budget:.3g} "
            f"({percent(round(vanished[most], 2))}); their laws go through the others"
        )
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
