"""The fitted frontier as a table of points with intervals, for figures and planners.

Intervals of k and of the exponent alone do not give the band, because the two are correlated; so
each resampled law is evaluated at each budget.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from plm_scaling.laws.stats.intervals import Floats, percentile_interval

POINTS_WITHIN, POINTS_BEYOND = 17, 9
BEYOND = 10.0  # how far past the dearest budget the table goes


def frontier_rows(
    budgets: Floats,
    laws: Mapping[str, Callable[[Floats], Floats]],
    resampled: Mapping[str, Callable[[float], Floats]],
    level: float,
) -> list[dict[str, Any]]:
    """Rows of flops, extrapolated, and n_params, tokens and loss each with its interval.

    `laws` maps N, D and L to functions of C, `resampled` the same names to functions that give one
    value per resample (NaN where it has none).
    """
    dearest = budgets.max()
    within = np.geomspace(budgets.min(), dearest, POINTS_WITHIN)
    beyond = np.geomspace(dearest, dearest * BEYOND, POINTS_BEYOND)[1:]
    grid = np.concatenate([within, beyond])
    columns = {"n_params": "N", "tokens": "D", "loss": "L"}
    values = {name: laws[key](grid) for name, key in columns.items()}
    rows = []
    for i, flops in enumerate(grid):
        row: dict[str, Any] = {
            "flops": float(flops),
            "extrapolated": i >= POINTS_WITHIN,
        }
        for name, key in columns.items():
            with np.errstate(over="ignore", invalid="ignore"):
                interval = percentile_interval(resampled[key](float(flops)), level)
            row[name] = float(values[name][i])
            row[f"{name}_interval"] = None if interval is None else list(interval)
        rows.append(row)
    return rows
