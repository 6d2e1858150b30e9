"""The fitted frontier as a table of points with intervals, for figures and planners.

The intervals of k and of the exponent do not give the band, because the two are correlated; so each
resampled law is evaluated at each budget.
"""

from collections.abc import Callable, Mapping

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval
from plm_scaling.laws.stats.loss_law import LossFit

POINTS_WITHIN, POINTS_BEYOND = 17, 17
BEYOND = 100.0  # how far past the largest budget the table goes


class FrontierRow(TypedDict):
    """The fitted optimum at one compute; `extrapolated` beyond the budgets fitted."""

    flops: float
    extrapolated: bool
    n_params: float
    n_params_interval: Interval | None
    tokens: float
    tokens_interval: Interval | None
    loss: float
    loss_interval: Interval | None


def frontier_rows(
    budgets: Floats,
    laws: Mapping[str, Callable[[Floats], Floats]],
    resampled: Mapping[str, Callable[[float], Floats]],
    level: float,
    loss: LossFit | None = None,
) -> list[FrontierRow]:
    """The frontier from the smallest budget to a hundred times the largest.

    `laws` maps N, D and L to functions of C, `resampled` the same names to functions that give one
    value per resample (NaN where it has none). `loss` stands for L in both.
    """
    largest = budgets.max()
    within = np.geomspace(budgets.min(), largest, POINTS_WITHIN)
    beyond = np.geomspace(largest, largest * BEYOND, POINTS_BEYOND)[1:]
    grid = np.concatenate([within, beyond])
    own: Mapping[str, Callable[[Floats], Floats]] = {"L": loss.law} if loss else {}
    values = {name: law(grid) for name, law in {**laws, **own}.items()}

    def interval(name: str, flops: float) -> Interval | None:
        if loss and name == "L":
            return loss.interval(flops, level)
        with np.errstate(over="ignore", invalid="ignore"):
            return percentile_interval(resampled[name](flops), level)

    return [
        {
            "flops": flops,
            "extrapolated": i >= POINTS_WITHIN,
            "n_params": float(values["N"][i]),
            "n_params_interval": interval("N", flops),
            "tokens": float(values["D"][i]),
            "tokens_interval": interval("D", flops),
            "loss": float(values["L"][i]),
            "loss_interval": interval("L", flops),
        }
        for i, flops in enumerate(map(float, grid))
    ]
