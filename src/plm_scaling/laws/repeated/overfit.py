"""The additive alternative: the loss of fresh tokens plus an overfitting term c·R^κ.

Unlike D' = U + U·R*·(1 − exp(−R/R*)), which can only grow, it can follow a held-out loss that
turns up. κ is scanned and c ≥ 0 follows by linear least squares.
"""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.repeated.model import KAPPA_LIMITS
from plm_scaling.laws.stats.intervals import Floats

KAPPA = np.geomspace(*KAPPA_LIMITS, 400)


@dataclass(frozen=True)
class Overfit:
    """c·R^kappa in nats for R repetitions; `rms` in nats per evaluation or run."""

    c: float
    kappa: float
    rms: float

    def __call__(self, repetitions: Floats) -> Floats:
        """The excess loss (nats) after R repetitions."""
        return self.c * repetitions**self.kappa


def fit_overfit(repetitions: Floats, excess: Floats, weights: Floats | None = None) -> Overfit:
    """Least squares of `excess` (nats) on c·R^κ over points (n,) with R > 0."""
    w = np.ones_like(excess) if weights is None else weights
    w = w / w.sum()
    shape = np.exp(KAPPA[:, None] * np.log(repetitions / repetitions.max()))
    c = np.maximum((w * shape * excess).sum(axis=1) / (w * shape**2).sum(axis=1), 0.0)
    squares = (w * (excess - c[:, None] * shape) ** 2).sum(axis=1)
    k = int(squares.argmin())
    scale = float(repetitions.max() ** -KAPPA[k])
    return Overfit(float(c[k]) * scale, float(KAPPA[k]), float(np.sqrt(squares[k])))
