"""How much a run's loss scatters from evaluation to evaluation, measured on its own curve.

`scatter` takes a smooth trend out by second differences of late evaluations, `noise_of` a slow one
by first differences of a whole curve, `evaluation_noise` a line and what runs at the same steps
share.
"""

import numpy as np
import pandas as pd

from plm_scaling.laws.stats.intervals import Floats

LATE = 0.7  # share of the curve left out: early on the loss falls too fast
MIN_EVALUATIONS = 8
LAST = 20  # evaluations at the end of a run, where the learning rate is low
AVERAGED = 5  # evaluations in the loss of a runs table
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


def loss_noise(curves: pd.DataFrame, run_ids: "pd.Series[str]", averaged: int = AVERAGED) -> Floats:
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


def noise_of(values: Floats) -> float:
    """Standard deviation of the evaluation noise, from successive differences.

    The median makes it blind to the few jumps of a run that was restarted; trends cancel.
    """
    return float(np.median(np.abs(np.diff(values))) * 1.4826 / np.sqrt(2))


def evaluation_noise(curves: pd.DataFrame | None, run_ids: list[str]) -> Floats:
    """Standard error of each run's loss against the others', nats, from late evaluations.

    Runs evaluated at the same steps often share held-out batches, whose luck moves them together
    and cancels between them; it is subtracted first if at least three runs share their steps. The
    rest, less a straight line over the last 20 evaluations, scatters by the noise of one, and the
    loss is the mean of five. NaN for runs with too short curves.
    """
    noise = np.full(len(run_ids), np.nan)
    if curves is None:
        return noise
    valid = curves[curves["run_id"].isin(run_ids) & (curves["split"] == "valid")]
    by_run = dict(list(valid.dropna(subset="loss").sort_values("step").groupby("run_id")))
    late = [by_run.get(run_id, valid.iloc[:0]).tail(LAST) for run_id in run_ids]
    steps = [tuple(table["step"]) for table in late]
    for i, table in enumerate(late):
        alike = [j for j, other in enumerate(steps) if other == steps[i]]
        residuals = _detrended(np.array([late[j]["loss"].to_numpy(float) for j in alike]))
        if len(table) < AVERAGED:
            continue
        own = residuals[alike.index(i)]
        if len(alike) >= 3:
            own = (own - residuals.mean(axis=0)) * np.sqrt(len(alike) / (len(alike) - 1))
        noise[i] = np.sqrt((own**2).sum() / (len(own) - 2) / AVERAGED)
    return noise


def _detrended(losses: Floats) -> Floats:
    """Losses (R, n) less a straight line through each row."""
    n = losses.shape[1]
    if n < 2:
        return np.zeros_like(losses)
    design = np.vander(np.linspace(-1, 1, n), 2)
    return losses - losses @ np.linalg.pinv(design).T @ design.T
