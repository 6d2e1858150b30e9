"""The parametric law L = E + A/N^α + B/D^β (approach 3 of Hoffmann et al. 2022).

Σ Huber_δ(ln L̂ − ln L) over the runs is minimised: E, A and B by least squares at each point of a
grid over (α, β), then Newton steps with exact derivatives from the best points and the grid's own
minima. Intervals come from resampled runs, each started from the best of some hundred candidates.
The compute-optimal allocation that follows is in `implied`.
"""

from typing import Any, NotRequired, cast

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.details import Bootstrap, NotAvailable, not_available
from plm_scaling.laws.parametric.checks import (
    MIN_RUNS,
    HeldOut,
    OptimumRow,
    count_distinct,
    held_out_check,
    optimum_row,
)
from plm_scaling.laws.parametric.health import (
    FlatRange,
    Profile,
    bound_evidence,
    fit_warnings,
    profile_summary,
)
from plm_scaling.laws.parametric.implied import implied_equations
from plm_scaling.laws.parametric.optima import (
    bounds_hit,
    find_optima,
    profile_floor,
    resample_optima,
)
from plm_scaling.laws.parametric.surface import Surface
from plm_scaling.laws.points import near_frontier, parametric_points
from plm_scaling.laws.result import EquationJson, LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import Floats, check_settings, multiplicities
from plm_scaling.laws.status import Status

NEAR_FRONTIER = 0.03  # nats
OPTIMA_KEPT = 5
METHOD = (
    "sum of Huber(delta={delta:g}) of the log loss over the runs, minimised by damped Newton steps "
    "from a 16 x 16 grid over (alpha, beta) with non-negative E, A, B; intervals by a bootstrap "
    "over runs, each resample refitted; N and D by Hoffmann et al. 2022 eq. 4; residual_rms "
    "is of ln(loss)"
)


class RunBootstrap(Bootstrap):
    """`share_unusable` of the resamples: too few runs, or not converged."""

    share_unusable: float | None


class NearFrontier(TypedDict):
    """The fit to the runs `within` so many nats of the best of like compute."""

    status: Status
    n_points: int
    equations: dict[str, EquationJson]
    objective_value: float | None
    residual_rms: float | None
    profile_E: FlatRange
    held_out: HeldOut | NotAvailable
    warnings: list[str]
    within: float


class NoNearFrontier(NotAvailable):
    """Why there is no such fit."""

    within: NotRequired[float]


class Details(TypedDict):
    """The tables of a parametric law."""

    huber_delta: float
    bounds_hit: list[str]
    optima: list[OptimumRow]
    profile_E: Profile
    frontier: list[FrontierRow]
    held_out: HeldOut | NotAvailable
    near_frontier: NearFrontier | NoNearFrontier
    bootstrap: RunBootstrap
    published: NotRequired[list[dict[str, Any]]]
    """What a published row is on these runs."""


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of `runs`, whose `curves` it does not need: see `study.laws`."""
    return fit_parametric(
        **parametric_points(runs),
        huber_delta=settings.huber_delta,
        held_out_above=settings.held_out_above,
        **settings.resampling,
    )


def fit_parametric(
    n_params: Floats,
    tokens: Floats,
    loss: Floats,
    *,
    huber_delta: float = 1e-3,
    held_out_above: float | None = None,
    near_frontier_nats: float | None = NEAR_FRONTIER,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult[Details]:
    """Fit L(N, D) to runs, all arrays of shape (n,): non-embedding parameters, tokens, nats/token.

    The held-out check predicts the runs of more than `held_out_above` FLOPs from the others (None:
    the largest budget). `details["near_frontier"]` is the same fit on the runs within
    `near_frontier_nats` of the best at like compute (None: left out). Raises LawError with fewer
    than six distinct (N, D) or values not positive and finite.
    """
    check_settings(bootstrap, level)
    n_params, tokens, loss = check_runs(n_params=n_params, tokens=tokens, loss=loss)
    if not huber_delta > 0:
        raise LawError(f"laws.huber_delta is {huber_delta}; give a positive number such as 1e-3")
    distinct = count_distinct(n_params, tokens)
    if distinct < MIN_RUNS:
        raise LawError(
            f"{distinct} distinct run(s); the parametric law has five parameters and needs at "
            f"least {MIN_RUNS}: train more cells, or fit only isoflop"
        )
    surface = Surface.of(n_params, tokens, loss, huber_delta)
    optima = find_optima(surface)
    if not optima:
        raise LawError(
            "the parametric fit converged from no start; check the runs for losses that "
            "are not in nats/token or tables that mix objectives"
        )
    best = optima[0]
    counts = multiplicities(len(loss), bootstrap, seed)
    usable = (counts > 0).sum(axis=1) >= MIN_RUNS
    samples = np.full((bootstrap, 5), np.nan)
    if usable.any():
        samples[usable] = resample_optima(surface, optima, counts[usable])
    equations, law, resampled = implied_equations(surface, best, samples, level)
    hit = bounds_hit(surface, best.theta)
    profile = profile_summary(surface, best, profile_floor(surface, best))
    residuals = surface.log_prediction(best.theta[None])[0] - surface.log_loss
    flops = 6 * n_params * tokens
    near: NearFrontier | NoNearFrontier = {**not_available("not fitted")}
    if near_frontier_nats is not None:
        chosen = near_frontier(flops, loss, near_frontier_nats)
        own = {"n_params": n_params[chosen], "tokens": tokens[chosen], "loss": loss[chosen]}
        settings: Any = {"huber_delta": huber_delta, "bootstrap": bootstrap, "level": level}
        near = _near_frontier(own, near_frontier_nats, seed=seed, **settings)
    evidence = bound_evidence(best, hit)
    unusable = float(np.isnan(samples[:, 0]).mean()) if bootstrap else None
    if unusable is not None:
        evidence["failed"] = unusable
    return LawResult(
        law="parametric",
        method=METHOD.format(delta=huber_delta),
        n_points=len(loss),
        equations=equations,
        objective_value=best.misfit,
        residual_rms=rms(residuals),
        warnings=fit_warnings(surface, optima, samples, profile, distinct),
        details={
            "huber_delta": huber_delta,
            "bounds_hit": hit,
            "optima": [optimum_row(surface, o) for o in optima[:OPTIMA_KEPT]],
            "profile_E": profile,
            "frontier": frontier_rows(flops, law, resampled, level) if law else [],
            "held_out": held_out_check(n_params, tokens, loss, huber_delta, held_out_above),
            "near_frontier": near,
            "bootstrap": {
                "kind": "runs",
                "resamples": bootstrap,
                "seed": seed,
                "share_unusable": unusable,
            },
        },
        evidence=evidence,
    )


def predict_loss(result: LawResult, n_params: Floats, tokens: Floats) -> Floats:
    """The fitted loss (nats/token) at N and D; a term that vanished contributes nothing."""
    n_params, tokens = np.asarray(n_params), np.asarray(tokens)  # without the labels of a Series
    p = {name: value or 0.0 for name, value in result.equations["L"].parameters.items()}
    return p["E"] + p["A"] / n_params ** p["alpha"] + p["B"] / tokens ** p["beta"]


def _near_frontier(
    runs: dict[str, Any], within: float, **settings: Any
) -> NearFrontier | NoNearFrontier:
    """The parts of the fit to near-frontier runs that the fit to all of them lists."""
    distinct = count_distinct(runs["n_params"], runs["tokens"])
    if distinct < MIN_RUNS:
        return {**not_available(f"{distinct} distinct runs; six are needed"), "within": within}
    fit = fit_parametric(**runs, near_frontier_nats=None, **settings).to_json()
    profile = {name: fit["profile_E"][name] for name in FlatRange.__annotations__}
    listed = fit | {"profile_E": profile, "within": within}
    return cast(NearFrontier, {name: listed[name] for name in NearFrontier.__annotations__})
