"""The parametric law L = E + A/N^α + B/D^β (approach 3 of Hoffmann et al. 2022).

Σ Huber_δ(ln L̂ − ln L) over the runs is minimised: E, A and B by least squares at each point of a
grid over (α, β), then Newton steps with exact derivatives from the best points and the grid's own
minima. Intervals come from resampled runs, each started from the best of some hundred candidates.
The compute-optimal allocation that follows is in `implied`.
"""

from typing import Any, NotRequired

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import many
from plm_scaling.laws.details import Bootstrap, NotAvailable, not_available
from plm_scaling.laws.parametric.checks import OptimumRow, optimum_row
from plm_scaling.laws.parametric.groups import copies_warning, guess_groups
from plm_scaling.laws.parametric.health import (
    Profile,
    fit_evidence,
    fit_warnings,
    profile_summary,
)
from plm_scaling.laws.parametric.held_out import HeldOut, held_out_check, held_out_limit
from plm_scaling.laws.parametric.implied import implied_equations
from plm_scaling.laws.parametric.influence import Influences, find_influences, influence_warnings
from plm_scaling.laws.parametric.near import (
    NearFrontier,
    NoNearFrontier,
    near_contradiction,
    near_rows,
)
from plm_scaling.laws.parametric.optima import bounds_hit, find_optima, profile_floor
from plm_scaling.laws.parametric.runs import MIN_RUNS, Runs
from plm_scaling.laws.points import groups, near_frontier, parametric_points
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import Floats, check_settings

NEAR_FRONTIER = 0.03  # nats
NEAR_RESAMPLES = 1000
MOST_DRAWS = 200
TOO_FEW = "{} distinct runs; six are needed"
OPTIMA_KEPT = 5
METHOD = (
    "sum of Huber(delta={delta:g}) of the log loss over the runs, minimised by damped Newton steps "
    "from a 16 x 16 grid over (alpha, beta) with non-negative E, A, B; intervals by a bootstrap "
    "over {unit}, each resample refitted; N and D by Hoffmann et al. 2022 eq. 4; residual_rms "
    "is of ln(loss)"
)


class RunBootstrap(Bootstrap):
    """`kind` runs or groups, how many `units` of it are drawn, and `share_unusable` of the
    resamples: too few runs, or not converged."""

    units: int
    share_unusable: float | None


class Details(TypedDict):
    """The tables of a parametric law."""

    huber_delta: float
    bounds_hit: list[str]
    optima: list[OptimumRow]
    profile_E: Profile
    frontier: list[FrontierRow]
    held_out: HeldOut | NotAvailable
    near_frontier: NearFrontier | NoNearFrontier
    influences: Influences
    draws: list[list[float]]
    """[E, A, B, alpha, beta] of at most MOST_DRAWS resamples, for intervals at any N and D."""
    bootstrap: RunBootstrap
    published: NotRequired[list[dict[str, Any]]]
    """What a published row is on these runs."""


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of `runs`, whose `curves` it does not need: see `study.laws`."""
    return fit_parametric(
        **parametric_points(runs),
        group=groups(runs),
        run=runs["run_id"],
        huber_delta=settings.huber_delta,
        held_out_above=settings.held_out_above,
        **settings.resampling,
    )


def fit_parametric(
    n_params: Floats,
    tokens: Floats,
    loss: Floats,
    *,
    group: Any = None,
    run: Any = None,
    huber_delta: float = DEFAULT.huber_delta,
    held_out_above: float | None = None,
    near_frontier_nats: float | None = NEAR_FRONTIER,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Fit L(N, D) to runs, all arrays of shape (n,): non-embedding parameters, tokens, nats/token.

    Rows of one `group` (a label each, such as the run that checkpoints belong to) are resampled
    together; without, rows that look like checkpoints of one run per size are, with a warning.
    `run` names the rows. The held-out check predicts the runs of more than `held_out_above` FLOPs
    from the others (None: the largest budget). `details["near_frontier"]` is the same fit on the
    runs within `near_frontier_nats` of the best at like compute (None: left out). Raises LawError
    with fewer than six distinct (N, D) or values not positive and finite.
    """
    check_settings(bootstrap, level)
    runs = Runs.of(n_params, tokens, loss, run, group)
    if not huber_delta > 0:
        raise LawError(f"laws.huber_delta is {huber_delta}; give a positive number such as 1e-3")
    if runs.distinct < MIN_RUNS:
        raise LawError(
            f"{many(runs.distinct, 'distinct run')}; the parametric law has five parameters "
            f"and needs at least {MIN_RUNS}: train more cells, or fit only isoflop"
        )
    surface = runs.surface(huber_delta)
    optima = find_optima(surface)
    if not optima:
        raise LawError(
            "the parametric fit converged from no start; check the runs for losses that "
            "are not in nats/token or tables that mix objectives"
        )
    best = optima[0]
    residuals = surface.log_prediction(best.theta[None])[0] - surface.log_loss
    runs, guessed = guess_groups(runs, residuals)
    samples = runs.refits(surface, optima, bootstrap, seed)
    equations, law, resampled = implied_equations(surface, best, samples, level)
    hit = bounds_hit(surface, best.theta)
    profile = profile_summary(surface, best, profile_floor(surface, best))
    influences = find_influences(surface, optima, runs, equations["N"].known("a"))
    resampling: Any = {"bootstrap": bootstrap, "level": level, "seed": seed}
    held_out = held_out_check(runs, huber_delta, held_out_above, **resampling)
    evidence = fit_evidence(surface, best, hit, runs)
    unusable = float(np.isnan(samples[:, 0]).mean()) if bootstrap else None
    if unusable is not None:
        evidence["failed"] = unusable
    if limit := held_out_limit(held_out):
        evidence["held_out"] = limit
    near: NearFrontier | NoNearFrontier = {**not_available("not fitted")}
    if near_frontier_nats is not None:
        chosen = runs.some(near_frontier(runs.flops, runs.loss, near_frontier_nats))
        near = {**not_available(TOO_FEW.format(chosen.distinct)), "within": near_frontier_nats}
        if chosen.distinct >= MIN_RUNS:
            own: Any = {**vars(chosen), "near_frontier_nats": None, "huber_delta": huber_delta}
            own |= {**resampling, "bootstrap": min(bootstrap, NEAR_RESAMPLES)}
            other = fit_parametric(**own)
            near = near_rows(other, near_frontier_nats)
            evidence["contradictions"] = near_contradiction(equations["N"], other)
    draws = surface.natural(samples[~np.isnan(samples[:, 0])][:MOST_DRAWS])
    return LawResult(
        law="parametric",
        method=METHOD.format(delta=huber_delta, unit=runs.unit),
        n_points=len(runs.loss),
        equations=equations,
        objective_value=best.misfit,
        residual_rms=rms(residuals),
        warnings=[
            *guessed,
            *copies_warning(runs),
            *fit_warnings(surface, optima, samples, profile, runs),
            *influence_warnings(influences, equations["N"].parameters["a"], runs),
        ],
        details={
            "huber_delta": huber_delta,
            "bounds_hit": hit,
            "optima": [optimum_row(surface, o) for o in optima[:OPTIMA_KEPT]],
            "profile_E": profile,
            "frontier": frontier_rows(runs.flops, law, resampled, level) if law else [],
            "held_out": held_out,
            "near_frontier": near,
            "influences": influences,
            "draws": [[float(f"{value:.5g}") for value in row] for row in draws],
            "bootstrap": {
                "kind": runs.unit,
                "units": runs.units,
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
