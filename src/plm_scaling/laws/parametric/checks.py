"""The optima of a parametric law as rows, and whether a published row is one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.parametric.optima import Optimum, find_optima, optima_from
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.settings import DEFAULT
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import RowVerdict

LOCAL = 1.01  # an optimum whose misfit is this much above the best is another one


class SurfaceRow(TypedDict):
    """E + A/N^alpha + B/D^beta, N in parameters and D in tokens."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float


class OptimumRow(SurfaceRow):
    """An optimum, with its objective and how many starts ended there."""

    objective_value: float
    starts: int


def optimum_row(surface: Surface, optimum: Optimum) -> OptimumRow:
    """An optimum in natural units."""
    e, a, b, alpha, beta = map(float, surface.natural(optimum.theta))
    parameters: SurfaceRow = {"E": e, "A": a, "B": b, "alpha": alpha, "beta": beta}
    return {"objective_value": optimum.misfit, "starts": optimum.starts, **parameters}


def check_published_row(
    n_params: Floats,
    tokens: Floats,
    loss: Floats,
    row: Mapping[str, float],
    *,
    huber_delta: float = DEFAULT.huber_delta,
) -> dict[str, Any]:
    """What published parameters are on these runs: the best fit, a local optimum, or neither.

    `row` maps E, A, B, alpha, beta to their published values (N in parameters, D in tokens), arrays
    have shape (n,). `verdict` is global_optimum, local_optimum (a descent from the row stays near
    a worse minimum) or no_optimum (the misfit falls all the way from the row to the best fit).
    Raises LawError for missing or negative parameters.
    """
    n_params, tokens, loss = check_runs(n_params=n_params, tokens=tokens, loss=loss)
    values = np.array([row.get(name, np.nan) for name in NAMES], float)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise LawError(f"a published row needs E, A, B, alpha and beta, none negative; got {row}")
    surface = Surface.of(n_params, tokens, loss, huber_delta)
    theta = surface.scaled(values)
    best = find_optima(surface)[0]
    reached = optima_from(surface, theta[None])[0]
    at_row = float(surface.misfit(theta[None])[0])
    verdict = RowVerdict.GLOBAL if at_row <= LOCAL * best.misfit else RowVerdict.NONE
    if reached.misfit > LOCAL * best.misfit:
        verdict = RowVerdict.LOCAL
    return {
        "verdict": verdict,
        "n_points": len(loss),
        "row": dict(zip(NAMES, map(float, values), strict=True)),
        "objective_value": at_row,
        "ratio_to_best": at_row / best.misfit,
        "polished": optimum_row(surface, reached),
        "polished_ratio_to_best": reached.misfit / best.misfit,
        "best": optimum_row(surface, best),
    }
