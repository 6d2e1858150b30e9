"""Resampled IsoFLOP vertices: noise in the losses, and the choice of points.

The sizes of a sweep are chosen, not drawn, and with five sizes per budget resampling runs would
leave three distinct ones, hence an exact parabola, in half of the resamples. So the sizes are kept
and the residuals are resampled: divided by sqrt(1 − leverage), pooled over all budgets and
centred. As few degrees of freedom also leave the size of the noise uncertain, each resample's
residuals are scaled by sqrt(f/χ²_f). Residuals hold the evaluation noise of the runs; where few of
them happen to lie closer to the parabola than that noise allows, they are widened to it.

The window is drawn in each resample, half to twice its width, and applied to the resampled
losses: which runs count as near the minimum is itself subject to noise and to taste.

Every resample has every vertex, so that all laws go through the same budgets. One that leaves the
sizes counts as at the end by which it left, and where a parabola does not open, as at the end with
the lower loss. (Where such vertices fall says nothing: beyond the sizes there is no run. Accepted
budgets have few of them; further out they only widen the intervals.)
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from plm_scaling.laws.isoflop.parabola import Parabola, in_window, vertices
from plm_scaling.laws.stats.intervals import Floats

WINDOW_FACTOR = 2.0
CHANCE = 1e-4  # a budget that scatters so much more than the others as chance rarely makes it


@dataclass(frozen=True)
class Noise:
    """How losses scatter about the parabolas of all budgets, nats."""

    pool: Floats
    """Residuals (n,) in units of their root mean square."""
    rms: float
    freedom: int
    far_off: dict[float, float]
    """The own root mean square of budgets that scatter by more than chance about their parabola."""
    loss_sd: Floats | None
    """Of each run (runs,), in the order of the fit's arrays; None: not measured."""

    @classmethod
    def of(cls, parabolas: list[Parabola], loss_sd: Floats | None) -> "Noise":
        """From the residuals of every budget that has a parabola; one with an outlier says nothing
        of the others."""
        fits = {p.budget: p.fit for p in parabolas if p.fit}
        if not fits:
            return cls(np.zeros(1), 1.0, 1, {}, loss_sd)
        far_off: dict[float, float] = {}
        while True:
            squares = {c: float((f.residuals**2).sum()) for c, f in fits.items()}
            freedom = {c: len(f.residuals) - 3 for c, f in fits.items()}
            worst = max(fits, key=lambda c: squares[c] / freedom[c])
            f, total, all_freedom = freedom[worst], sum(squares.values()), sum(freedom.values())
            rest = max((total - squares[worst]) / max(all_freedom - f, 1), 1e-24)
            if len(fits) < 3 or fdtrc(f, all_freedom - f, squares[worst] / f / rest) >= CHANCE:
                break
            far_off[worst] = fits.pop(worst).rms
        pool = np.concatenate(
            [f.residuals / np.sqrt(np.maximum(1 - f.leverage, 1e-9)) for f in fits.values()]
        )
        pool = pool - pool.mean()
        unit = max(float(np.sqrt((pool**2).mean())), 1e-300)
        rms = max(float(np.sqrt(total / all_freedom)), 1e-12)
        return cls(pool / unit, rms, all_freedom, far_off, loss_sd)

    def of_runs(self, parabola: Parabola) -> Floats:
        """Standard deviation of the loss of each run (n,) of a budget, nats."""
        own = self.far_off.get(parabola.budget, self.rms)
        measured = 0.0 if self.loss_sd is None else self.loss_sd[parabola.members]
        return np.maximum(np.full(len(parabola.loss), own), measured)

    def warnings(self) -> list[str]:
        """A sentence on each budget that scatters by more than the others."""
        return [
            f"the losses at C={budget:.3g} lie {rms:.2g} nats off their parabola, those of the "
            f"other budgets {self.rms:.2g}: look for outliers among them"
            for budget, rms in sorted(self.far_off.items())
        ]


def resample_vertices(
    parabolas: list[Parabola], noise: Noise, window: float, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """ln N and the loss in nats at the minima, each (resamples, budgets)."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(noise.freedom / rng.chisquare(noise.freedom, size=(resamples, 1)))
    windows = window * WINDOW_FACTOR ** rng.uniform(-1, 1, resamples)
    found = []
    for parabola in parabolas:
        draws = rng.choice(noise.pool, size=(resamples, len(parabola.loss)))
        found.append(_refit(parabola, scale * noise.of_runs(parabola) * draws, windows))
    log_n, loss = np.reshape(found, (len(parabolas), 2, resamples)).transpose(1, 2, 0)
    return log_n, loss


def _refit(parabola: Parabola, noise: Floats, windows: Floats) -> tuple[Floats, Floats]:
    """ln N and the loss at the minimum of each resample (R,)."""
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
    vertex, _ = vertices(coefficients, 0.0)
    falls = coefficients[:, 1] + coefficients[:, 2] * (x[0] + x[-1]) < 0  # from end to end
    vertex = np.where(np.isnan(vertex), np.where(falls, x[-1], x[0]), vertex).clip(x[0], x[-1])
    at_vertex = (coefficients * vertex[:, None] ** np.arange(3)).sum(axis=1)
    return parabola.fit.centre + vertex, at_vertex
