"""How much a run's loss scatters from evaluation to evaluation, measured on its own curve."""

import numpy as np
import pandas as pd

from plm_scaling.laws.stats.intervals import Floats

LATE = 0.7  # share of the curve left out: early on the loss falls too fast
MIN_EVALUATIONS = 8
NORMAL_MEDIAN = 0.6745  # median of |x| of a standard normal


def scatter(loss: Floats) -> float:
    """Standard deviation (nats) of single evaluations `loss` (n,) around their trend; NaN if few.

    From second differences, in which a trend that is locally straight cancels: their variance is
    six times that of an evaluation. The median keeps single jumps out.
    """
    late = np.asarray(loss, float)[int(LATE * len(loss)) :]
    late = late[np.isfinite(late)]
    if len(late) < MIN_EVALUATIONS:
        return float("nan")
    bends = late[:-2] - 2 * late[1:-1] + late[2:]
    return float(np.median(np.abs(bends)) / NORMAL_MEDIAN / np.sqrt(6))


def loss_noise(curves: pd.DataFrame, run_ids: "pd.Series[str]", averaged: int = 5) -> Floats:
    """Standard deviation (nats) of the mean of the last `averaged` evaluations of each run, (n,).

    `curves` as in curves.parquet (split valid is used). Runs with too short a curve get the median
    of the others; all NaN if no curve is long enough.
    """
    valid = curves[curves["split"] == "valid"]
    known = {str(k): scatter(g["loss"].to_numpy(float)) for k, g in valid.groupby("run_id")}
    single = np.array([known.get(run_id, np.nan) for run_id in run_ids])
    if np.isnan(single).all():
        return single
    return np.where(np.isnan(single), np.nanmedian(single), single) / np.sqrt(averaged)
