"""How many seeds it takes until noise leaves the minimum of an IsoFLOP curve inside its sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from plm_scaling.laws.isoflop.parabola import STEADY, fit_parabola
from plm_scaling.laws.stats.intervals import Floats


@dataclass(frozen=True)
class Noise:
    """Standard deviation of a loss about the parabolas of some budgets, nats, known from so many
    degrees of freedom."""

    sd: float
    freedom: int

    @classmethod
    def of(cls, minima: Sequence[Any], measured: float | None) -> "Noise | None":
        """Pooled over the rows of a law's `minima`; at least that `measured` between the last
        evaluations of runs. None where no budget has a parabola."""
        fits = [row for row in minima if row["residual_rms"] is not None and row["n_used"] > 3]
        freedom = sum(row["n_used"] - 3 for row in fits)
        if not freedom:
            return None
        squares = sum(row["residual_rms"] ** 2 * (row["n_used"] - 3) for row in fits)
        return cls(max(float(np.sqrt(squares / freedom)), measured or 0.0), freedom)


def seeds_needed(log_n: Floats, loss: Floats, noise: Noise, fewest: int, most: int) -> int:
    """The number of seeds, from `fewest` to `most`, with which the minimum of a curve stays inside
    its sizes as surely as the IsoFLOP law asks of one; the larger of both if none is enough.

    `log_n` and `loss` (n,): ln N of the sizes and the losses expected of them without noise.
    """
    for seeds in range(fewest, most):
        n = np.repeat(np.exp(log_n), seeds)
        members = np.arange(len(n))
        parabola = fit_parabola(1.0, n, np.repeat(loss, seeds), np.zeros(len(n)), members)
        judged = parabola.judged(np.full(len(n), noise.sd), noise.freedom)
        if (judged.share_inside or 0.0) >= STEADY:
            return seeds
    return max(fewest, most)


def seeds_from(first: Sequence[int], number: int) -> list[int]:
    """`number` seeds: `first`, then the smallest others."""
    others = (seed for seed in count(1) if seed not in first)
    return [*first, *islice(others, max(0, number - len(first)))][:number]
