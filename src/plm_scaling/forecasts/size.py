"""The best size at a budget to come, from the IsoFLOP minima of finished runs."""

import math

import numpy as np
import pandas as pd
from scipy import special

from plm_scaling.common.errors import LawError
from plm_scaling.forecasts.record import LEVEL, SizeForecast
from plm_scaling.laws.details import NotAvailable, not_available
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.points import isoflop_points
from plm_scaling.laws.predict import optimum
from plm_scaling.laws.stats.budgets import REACH
from plm_scaling.laws.status import Check, Minimum

RESAMPLES = 400
SEED = 1


def forecast_size(
    runs: pd.DataFrame, curves: pd.DataFrame | None, flops: float
) -> SizeForecast | NotAvailable:
    """N of the lowest loss at `flops`, from comparable finished `runs` and their `curves`.

    To the interval of the law come the scatter of minima about it and the noise of the minimum that
    will be measured, as that of those known.
    """
    law = fit_isoflop(**isoflop_points(runs, curves), bootstrap=RESAMPLES, level=LEVEL, seed=SEED)
    minima = [row for row in law.details["minima"] if row["status"] == Minimum.ACCEPTED]
    if len(minima) < 2:
        return not_available(f"{len(minima)} budgets have a minimum; two are needed")
    try:
        row = optimum(law, np.array([flops])).iloc[0]
    except LawError as error:
        return not_available(str(error))
    if not math.isfinite(row["n_params_low"]):
        return not_available("the minima do not determine an interval of the size")
    noise = float(np.median([row["log_n_sd"] or 0.0 for row in minima]))
    scatter = law.details["scatter"]["log_n_sd"] or 0.0
    own = float(special.ndtri((1 + LEVEL) / 2)) * math.hypot(noise, scatter)
    n_params = float(row["n_params"])
    down = math.hypot(max(0.0, math.log(n_params / row["n_params_low"])), own)
    up = math.hypot(max(0.0, math.log(row["n_params_high"] / n_params)), own)
    return {
        "status": Check.DONE,
        "law": "isoflop",
        "predicted": n_params,
        "low": n_params * math.exp(-down),
        "high": n_params * math.exp(up),
        "minima": len(minima),
    }


def measured_sizes(runs: pd.DataFrame, curves: pd.DataFrame | None) -> list[tuple[float, float]]:
    """(FLOPs, N) of each accepted minimum of the runs, by rising FLOPs."""
    law = fit_isoflop(**isoflop_points(runs, curves), bootstrap=0)
    return [
        (row["flops"], float(row["n_params"]))
        for row in law.details["minima"]
        if row["status"] == Minimum.ACCEPTED and row["n_params"] is not None
    ]


def size_at(minima: list[tuple[float, float]], flops: float) -> float | None:
    """N of the minimum at a budget of `flops`; None if there is none."""
    near = [(abs(math.log(c / flops)), n) for c, n in minima]
    off, n_params = min(near, default=(math.inf, 0.0))
    return n_params if off <= math.log1p(REACH) else None
