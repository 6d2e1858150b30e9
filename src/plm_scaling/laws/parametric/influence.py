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
    refit = _share(resample_optima(surface, optima, without))[0] if len(far) else np.nan
    return {
        "outliers": [
            {"run": str(runs.labels[i]), "residual": float(nats[i]), "scatters": float(scatters[i])}
            for i in far
        ],
        "a_without_outliers": None if np.isnan(refit) else float(refit),
        "influential": [] if a is None else _influential(surface, optima, runs, a),
    }


def _share(theta: Floats) -> Floats:
    """The exponent of N at θ (S, 5)."""
    return theta[:, 4] / (theta[:, 3] + theta[:, 4])


def _influential(
    surface: Surface, optima: list[Optimum], runs: Runs, a: Estimate
) -> list[Influence]:
    """The fit is repeated without each run or group; those that move a most come first."""
    units, member = np.unique(runs.labels, return_inverse=True)
    if not 2 < len(units) <= MOST_UNITS:
        return []
    left = (np.arange(len(units))[:, None] != member).astype(float)
    without = _share(resample_optima(surface, optima, left))
    moved = np.abs(np.nan_to_num(without - a[0]))
    order = np.argsort(-moved, kind="stable")[:LISTED]
    least = max(STRONG * (a[2] - a[1]) / 2, MOVES)
    return [{"without": str(units[i]), "a": float(without[i])} for i in order if moved[i] > least]


def influence_warnings(found: Influences, a: float | None, runs: Runs) -> list[str]:
    """Sentences that name the runs or groups and say what they move."""
    if a is None:
        return []
    warnings = []
    if outliers := found["outliers"]:
        said: dict[str, str] = {}
        for one in outliers:  # of a group only the farthest
            said.setdefault(one["run"], f"{one['run']} ({one['residual']:+.3g} nats)")
        named = list(said.values())
        more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
        without = found["a_without_outliers"]
        moved = "" if without is None else f"; without them a is {without:.3f} instead of {a:.3f}"
        warnings.append(
            f"{len(outliers)} of {len(runs.loss)} rows lie off the surface by more than "
            f"{OUTLIER:g} times the scatter of the others: {', '.join(named[:LISTED])}{more}{moved}"
        )
    warnings += [
        f"much rests on {unit['without']}: without it a is {unit['a']:.3f} instead of {a:.3f}"
        for unit in found["influential"]
    ]
    return warnings
