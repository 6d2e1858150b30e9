"""Runs that a parametric law rests on: outliers, and single runs whose omission moves it."""

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.laws.parametric.optima import Optimum, resample_optima
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.parametric.surface import Surface
from plm_scaling.laws.stats.intervals import Estimate, Floats

OUTLIER = 6.0  # robust standard deviations; normal noise never gets there
LEAST_SCALE = 1e-5  # of ln loss; below lies how losses were rounded
MOST_UNITS = 400  # with more no single one decides
STRONG = 0.75  # of a's half-width; of normal noise one run in a hundred sweeps moves a by so much
MOVES = 0.01  # change of a below which nobody plans otherwise
LISTED = 5


class Outlier(TypedDict):
    """A run far off the surface: measured − predicted loss in nats, and in units of the scatter."""

    run: str
    residual: float
    scatters: float


class Influence(TypedDict):
    """A run or group without which the exponent of N would be `a`."""

    without: str
    a: float


class Influences(TypedDict):
    """What single runs move; `a_without_outliers` is None where there are none."""

    outliers: list[Outlier]
    a_without_outliers: float | None
    influential: list[Influence]


def robust_scale(residuals: Floats) -> float:
    """Standard deviation of ln loss about five fitted parameters, from the median of |residual|."""
    n = len(residuals)
    spread = float(np.median(np.abs(residuals))) * 1.4826
    return max(spread * float(np.sqrt(n / max(n - 5, 1))), LEAST_SCALE)


def find_influences(
    surface: Surface, optima: list[Optimum], runs: Runs, a: Estimate | None
) -> Influences:
    """Outliers and influential runs or groups of the fit whose best optimum is first and which
    gives `a`."""
    best = optima[0].theta
    residuals = surface.log_loss - surface.log_prediction(best[None])[0]
    scatters = residuals / robust_scale(residuals)
    far = np.flatnonzero(np.abs(scatters) > OUTLIER)
    far = far[np.argsort(-np.abs(scatters[far]), kind="stable")]
    nats = np.exp(surface.log_loss) * -np.expm1(-residuals)
    without = np.ones((1, len(residuals)))
    without[0, far] = 0
    refit = resample_optima(surface, optima, without)[0] if len(far) else None
    return {
        "outliers": [
            {"run": str(runs.run[i]), "residual": float(nats[i]), "scatters": float(scatters[i])}
            for i in far
        ],
        "a_without_outliers": None if refit is None else _share(refit),
        "influential": [] if a is None else _influential(surface, optima, runs, a),
    }


def _share(theta: Floats) -> float:
    """The exponent of N."""
    return float(theta[4] / (theta[3] + theta[4]))


def _influential(
    surface: Surface, optima: list[Optimum], runs: Runs, a: Estimate
) -> list[Influence]:
    """The fit is repeated without each run or group; those that move a most come first."""
    units, member = np.unique(runs.run if runs.group is None else runs.group, return_inverse=True)
    if not 2 < len(units) <= MOST_UNITS:
        return []
    left = (np.arange(len(units))[:, None] != member).astype(float)
    theta = resample_optima(surface, optima, left)
    without = theta[:, 4] / (theta[:, 3] + theta[:, 4])
    moved = np.abs(np.nan_to_num(without - a[0]))
    order = np.argsort(-moved, kind="stable")[:LISTED]
    least = max(STRONG * (a[2] - a[1]) / 2, MOVES)
    return [{"without": str(units[i]), "a": float(without[i])} for i in order if moved[i] > least]


def influence_warnings(found: Influences, a: float | None, n_points: int) -> list[str]:
    """Sentences that name the runs and say what they move."""
    if a is None:
        return []
    warnings = []
    if outliers := found["outliers"]:
        named = [f"{o['run']} ({o['residual']:+.3g} nats)" for o in outliers[:LISTED]]
        more = f" and {len(outliers) - LISTED} more" if len(outliers) > LISTED else ""
        warnings.append(
            f"{len(outliers)} of {n_points} runs lie off the surface by more than {OUTLIER:g} "
            f"times the scatter of the others: {', '.join(named)}{more}; without them a is "
            f"{found['a_without_outliers']:.3f} instead of {a:.3f}"
        )
    warnings += [
        f"much rests on {one['without']}: without it a is {one['a']:.3f} instead of {a:.3f}"
        for one in found["influential"]
    ]
    return warnings
