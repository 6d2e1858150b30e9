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
from plm_scaling.laws.details import Bootstrap, NotAvailable, not_available
from plm_scaling.laws.parametric.checks import OptimumRow, optimum_row
from plm_scaling.laws.parametric.groups import copies_warning, guess_groups
from plm_scaling.laws.parametric.health import FlatRange, Profile, fit_warnings, profile_summary
from plm_scaling.laws.parametric.held_out import HeldOut, held_out_check, held_out_warning
from plm_scaling.laws.parametric.implied import implied_equations
from plm_scaling.laws.parametric.influence import Influences, find_influences, influence_warnings
from plm_scaling.laws.parametric.optima import bounds_hit, find_optima, profile_floor
from plm_scaling.laws.parametric.runs import MIN_RUNS, Runs
from plm_scaling.laws.points import groups, near_frontier, parametric_points
from plm_scaling.laws.result import Equation, EquationJson, LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.frontier_table import FrontierRow, frontier_rows
from plm_scaling.laws.stats.intervals import Floats, check_settings
from plm_scaling.laws.status import Check, Status

NEAR_FRONTIER = 0.03  # nats
MOST_DRAWS = 200
SAME_EXPONENT = 0.01  # a difference in a of less changes no plan
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
    huber_delta: float = 1e-3,
    held_out_above: float | None = None,
    near_frontier_nats: float | None = NEAR_FRONTIER,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
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
            f"{runs.distinct} distinct run(s); the parametric law has five parameters and needs at "
            f"least {MIN_RUNS}: train more cells, or fit only isoflop"
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
    a = equations["N"].parameters["a"]
    hit = bounds_hit(surface, best.theta)
    profile = profile_summary(surface, best, profile_floor(surface, best))
    influences = find_influences(surface, optima, runs.run, runs.group)
    resampling: Any = {"bootstrap": bootstrap, "level": level, "seed": seed}
    held_out = held_out_check(runs, huber_delta, held_out_above, **resampling)
    near: NearFrontier | NoNearFrontier = {**not_available("not fitted")}
    if near_frontier_nats is not None:
        near = _near_frontier(runs, near_frontier_nats, huber_delta=huber_delta, **resampling)
    contradictions = [*held_out_warning(held_out), *_near_warning(equations["N"], near)]
    draws = surface.natural(samples[~np.isnan(samples[:, 0])][:MOST_DRAWS])
    return LawResult(
        law="parametric",
        method=METHOD.format(delta=huber_delta, unit=runs.unit),
        n_points=len(runs.loss),
        equations=equations,
        objective_value=best.misfit,
        residual_rms=rms(residuals),
        status=_status(hit),
        warnings=[
            *guessed,
            *copies_warning(runs),
            *fit_warnings(
                surface, optima, samples, profile, hit, min(runs.distinct, runs.units), runs.unit
            ),
            *(influence_warnings(influences, a, len(runs.loss)) if a is not None else []),
            *contradictions,
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
                "share_unusable": float(np.isnan(samples[:, 0]).mean()) if bootstrap else None,
            },
        },
    )


def _status(hit: list[str]) -> Status:
    """E at 0 is a result of its own; a term at its bound leaves the allocation undetermined."""
    if set(hit) - {"E"}:
        return Status.NOT_IDENTIFIED
    return Status.AT_BOUND if hit else Status.CONVERGED


def predict_loss(result: LawResult, n_params: Floats, tokens: Floats) -> Floats:
    """The fitted loss (nats/token) at N and D; a term that vanished contributes nothing."""
    n_params, tokens = np.asarray(n_params), np.asarray(tokens)  # without the labels of a Series
    p = {name: value or 0.0 for name, value in result.equations["L"].parameters.items()}
    return p["E"] + p["A"] / n_params ** p["alpha"] + p["B"] / tokens ** p["beta"]


def _near_frontier(runs: Runs, within: float, **settings: Any) -> NearFrontier | NoNearFrontier:
    """The parts of the fit to near-frontier runs that the fit to all of them lists."""
    near = runs.some(near_frontier(runs.flops, runs.loss, within))
    if near.distinct < MIN_RUNS:
        return {**not_available(f"{near.distinct} distinct runs; six are needed"), "within": within}
    fit = fit_parametric(**vars(near), near_frontier_nats=None, **settings).to_json()
    profile = {name: fit["profile_E"][name] for name in FlatRange.__annotations__}
    listed = fit | {"profile_E": profile, "within": within}
    return cast(NearFrontier, {name: listed[name] for name in NearFrontier.__annotations__})


def _near_warning(law: Equation, near: NearFrontier | NoNearFrontier) -> list[str]:
    """A sentence if a of all runs and of those near the frontier differ by more than the intervals
    of both together allow."""
    if near["status"] == Check.NOT_AVAILABLE:
        return []
    other = Equation.from_json({**near["equations"]["N"]})
    values = [one.parameters["a"] for one in (law, other)]
    ends = [one.interval["a"] for one in (law, other)]
    if None in values or None in ends:
        return []
    (first, second), (one, two) = cast(Any, values), cast(Any, ends)
    towards = (
        (one[1] - first, two[0] - second) if second > first else (one[0] - first, two[1] - second)
    )
    allowed = max(float(np.hypot(*towards)), SAME_EXPONENT)
    if abs(second - first) <= allowed:
        return []
    return [
        f"a is {first:.3f} from all runs and {second:.3f} from the {near['n_points']} within "
        f"{near['within']:g} nats of the frontier, where the intervals allow a difference of "
        f"{allowed:.3f}: runs far off the frontier do not follow the form"
    ]
