"""The validation curve of a run to come: how far runs are above their final loss on the way.

Cells have learning rate schedules of the same form over their own tokens, so curves are alike as
functions of the share of the tokens. Larger models are further above their final loss.
"""

import numpy as np
import pandas as pd
from scipy import special

from plm_scaling.forecasts.record import LEVEL, CurvePoint, Predicted
from plm_scaling.laws.stats.intervals import Floats

SHARES = np.arange(1, 21) / 20
LEAST_FREEDOM = 3  # of the scatter between curves; with less its intervals say nothing


def forecast_curve(
    runs: pd.DataFrame, excess: Floats, n_params: float, tokens: float, loss: Predicted
) -> list[CurvePoint]:
    """The loss of an evaluation at each of SHARES that the curves of `runs` reach: `excess`
    (`excess_of` them).

    At each share the excess over the final loss is a line in ln N and ln D of the runs; its
    interval, by Student's t, and that of the final `loss` make the point's.
    """
    at = np.array([1.0, np.log(n_params), np.log(tokens)])
    design = np.column_stack([np.ones(len(runs)), np.log(runs["n_params"]), np.log(runs["tokens"])])
    down, up = loss["predicted"] - loss["low"], loss["high"] - loss["predicted"]
    points: list[CurvePoint] = []
    for share, values in zip(SHARES, excess.T, strict=True):
        known = np.isfinite(values)
        if (found := _line(design[known], values[known], at)) is None:
            continue
        value, reach = found
        points.append(
            {
                "share": float(share),
                "predicted": loss["predicted"] + value,
                "low": loss["predicted"] + value - float(np.hypot(down, reach)),
                "high": loss["predicted"] + value + float(np.hypot(up, reach)),
            }
        )
    return points


def excess_of(runs: pd.DataFrame, curves: pd.DataFrame) -> Floats:
    """Nats above the final validation loss of each of `runs`, (runs, shares); NaN before the first
    evaluation."""
    valid = curves[(curves["split"] == "valid") & curves["loss"].notna()]
    by_run = dict(list(valid.groupby("run_id")))
    rows = []
    for run in runs.to_dict("records"):
        own = by_run.get(run["run_id"], valid.iloc[:0]).sort_values("tokens")
        share = own["tokens"].to_numpy(float) / run["tokens"]
        above = own["loss"].to_numpy(float) - run["loss"]
        rows.append(np.interp(SHARES, share, above, left=np.nan) if len(own) else SHARES * np.nan)
    return np.array(rows)


def _line(design: Floats, values: Floats, at: Floats) -> tuple[float, float] | None:
    """The least-squares prediction at `at` (p,), and half of the interval of a new value; None
    with too few values (n,) for that. Sizes and tokens of one budget leave a rank of two."""
    rank = int(np.linalg.matrix_rank(design)) if len(values) else 0
    freedom = len(values) - rank
    if freedom < LEAST_FREEDOM:
        return None
    solver = np.linalg.pinv(design)
    fit = solver @ values
    left = values - design @ fit
    sd = float(np.sqrt((left @ left) / freedom * (1 + ((at @ solver) ** 2).sum())))
    return float(at @ fit), float(special.stdtrit(freedom, (1 + LEVEL) / 2)) * sd
