"""Resampled IsoFLOP vertices: noise in the losses, and the choice of points.

The sizes of a sweep are chosen, not drawn, and with five sizes per budget resampling runs would
leave three distinct ones, hence an exact parabola, in half of the resamples. So the sizes are kept
and the residuals are resampled: divided by sqrt(1 − leverage), pooled over the accepted budgets and
centred. As few degrees of freedom also leave the size of the noise uncertain, each resample's
residuals are scaled by sqrt(f/χ²_f). Residuals hold the evaluation noise of the runs; where few of
them happen to lie closer to the parabola than that noise allows, they are widened to it.

The window is drawn in each resample, half to twice its width, and applied to the resampled
losses: which runs count as near the minimum is itself subject to noise and to taste.
"""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.isoflop.parabola import Parabola, in_window, vertices
from plm_scaling.laws.stats.intervals import Floats

WINDOW_FACTOR = 2.0


def resample_vertices(
    accepted: list[Parabola], loss_sd: Floats | None, window: float, resamples: int, seed: int
) -> tuple[Floats, Floats, float | None]:
    """ln N and ln L at the vertices, each (resamples, budgets), and the share of resamples in which
    a minimum vanished or left the sizes of its window.

    Such a minimum is NaN, as the fit itself would refuse it; the power laws go through the others.
    `loss_sd` (runs,) is the noise of each run's loss in nats, in the order of the fit's arrays.
    """
    log_n = np.full((resamples, len(accepted)), np.nan)
    log_l = log_n.copy()
    if not resamples or not accepted:
        return log_n, log_l, None
    rng = np.random.default_rng(seed)
    pool = np.concatenate(
        [p.fit.residuals / np.sqrt(np.maximum(1 - p.fit.leverage, 1e-9)) for p in accepted if p.fit]
    )
    pool = pool - pool.mean()
    rms = max(float(np.sqrt((pool**2).mean())), 1e-12)
    freedom = len(pool) - 3 * len(accepted)
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=(resamples, 1)))
    windows = window * WINDOW_FACTOR ** rng.uniform(-1, 1, resamples)
    lost = np.zeros(resamples, bool)
    for j, parabola in enumerate(accepted):
        wider = 1.0 if loss_sd is None else np.maximum(1, loss_sd[parabola.members] / rms)
        draws = rng.choice(pool, size=(resamples, len(parabola.loss)))
        x, at_vertex, inside = _refit(parabola, scale * wider * draws, windows)
        inside &= at_vertex > 0
        log_n[inside, j], log_l[inside, j] = x[inside], np.log(at_vertex[inside])
        lost |= ~inside
    return log_n, log_l, float(lost.mean())


def _refit(
    parabola: Parabola, noise: Floats, windows: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """ln N and L at the vertex of each resample (R,), and whether it lies inside its sizes."""
    assert parabola.fit is not None
    truth = parabola.loss.copy()
    truth[parabola.used] = parabola.fit.fitted
    loss = truth + noise
    used = in_window(parabola.n_params, loss, windows)
    x = np.log(parabola.n_params) - parabola.fit.centre
    powers = np.vander(x, 5, increasing=True)
    moments = used.astype(float) @ powers  # Σ x^0 … Σ x^4 over the window
    matrix = moments[:, np.add.outer(np.arange(3), np.arange(3))]
    vector = (used * loss) @ powers[:, :3]
    coefficients: Floats = np.linalg.solve(matrix, vector[:, :, None])[:, :, 0].astype(np.float64)
    log_n, at_vertex = vertices(coefficients, parabola.fit.centre)
    log_sizes = np.log(parabola.n_params)
    low = np.where(used, log_sizes, np.inf).min(axis=1)
    high = np.where(used, log_sizes, -np.inf).max(axis=1)
    return log_n, at_vertex, (log_n > low) & (log_n < high)
