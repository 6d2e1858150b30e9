"""The loss of one size on fresh tokens, L_N(D) = E_N + B_N/D^β_N, from its decayed runs.

Only end points enter, where the learning rate has decayed: in the middle of a run the loss also
says where the schedule stands. Exact given β, so β is scanned for many resamples at once.
"""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.stats.intervals import Floats

BETA = np.geomspace(0.02, 1.5, 240)
MIN_RUNS = 3


@dataclass(frozen=True)
class Reference:
    """L_N(D) = floor + drop·(D/D₀)^−beta for S resamples: `floor`, `drop`, `beta` each (S,).

    `squares` (S,) is the residual sum of squares in nats²; D₀ is `centre`, in tokens.
    """

    floor: Floats
    drop: Floats
    beta: Floats
    squares: Floats
    centre: float

    def __call__(self, tokens: Floats, resample: int = 0) -> Floats:
        """Loss in nats/token of one resample at `tokens` of any shape."""
        x = np.log(tokens / self.centre)
        return self.floor[resample] + self.drop[resample] * np.exp(-self.beta[resample] * x)

    def tokens_at(self, loss: float) -> float:
        """Fresh tokens at which the first resample reaches `loss`; infinite below its floor."""
        reducible = loss - self.floor[0]
        if reducible <= 0:
            return np.inf
        return float(self.centre * (self.drop[0] / reducible) ** (1 / self.beta[0]))


def fit_reference(tokens: Floats, losses: Floats) -> Reference:
    """Least squares with floor ≥ 0 and drop ≥ 0 for `losses` (S, m) at common `tokens` (m,)."""
    centre = float(np.exp(np.log(tokens).mean()))
    x = np.exp(-BETA[:, None] * np.log(tokens / centre))
    dx = x - x.mean(axis=1, keepdims=True)
    dl = losses - losses.mean(axis=1, keepdims=True)
    drop = np.maximum(dl @ dx.T / (dx**2).sum(axis=1), 0.0)
    floor = losses.mean(axis=1)[:, None] - drop * x.mean(axis=1)
    through_zero = losses @ x.T / (x**2).sum(axis=1)
    drop = np.where(floor < 0, through_zero, drop)
    floor = np.maximum(floor, 0.0)
    fitted = floor[:, :, None] + drop[:, :, None] * x
    squares = ((losses[:, None, :] - fitted) ** 2).sum(axis=2)
    k = squares.argmin(axis=1)
    rows = np.arange(len(losses))
    return Reference(floor[rows, k], drop[rows, k], BETA[k], squares[rows, k], centre)
