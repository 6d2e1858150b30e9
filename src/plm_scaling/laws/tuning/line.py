"""ln x* = ln k + α·ln N + β·ln D (+ δ·ln B/B₀) through the best values, as far as they say."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.laws.stats.intervals import Floats

NAMES = ("k", "alpha", "beta", "delta")
LEVER = 0.1  # of ln N, ln D, ln B: with less spread beside the others there is no exponent


@dataclass(frozen=True)
class Line:
    """A plane through the best values of G groups: `log_n`, `log_d`, `log_b`, `log_x`, all (G,).

    `log_b` is ln B/B₀. It has an exponent only where several batches were tried at the same N and
    D: a batch that follows from these is part of what the exponents of N and D say.
    """

    log_n: Floats
    log_d: Floats
    log_b: Floats
    log_x: Floats

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters."""
        same = (np.abs(np.subtract.outer(self.log_n, self.log_n)) < LEVER) & (
            np.abs(np.subtract.outer(self.log_d, self.log_d)) < LEVER
        )
        varies = same & (np.abs(np.subtract.outer(self.log_b, self.log_b)) > LEVER)
        return NAMES if varies.any() else NAMES[:3]

    @cached_property
    def _terms(self) -> Floats:
        return self.terms(self.log_n, self.log_d, self.log_b)

    def terms(self, log_n: Floats, log_d: Floats, log_b: Floats) -> Floats:
        """What the parameters are multiplied by, (n, P)."""
        columns = [np.ones_like(log_n), log_n, log_d, log_b]
        return np.stack(columns[: len(self.names)], axis=1)

    @property
    def undetermined(self) -> str:
        """Which exponent the groups cannot tell from the others; '' if they can."""
        for number, what in zip(range(1, len(self.names)), ("N", "D", "batch"), strict=False):
            others = np.delete(self._terms, number, axis=1)
            own = self._terms[:, number]
            rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
            if np.ptp(rest) < LEVER:
                return (
                    f"{what} does not vary beside the others among the (N, D) that have a best one"
                )
        return ""

    @property
    def freedom(self) -> int:
        """Degrees of freedom about the plane."""
        return len(self.log_x) - len(self.names)

    @cached_property
    def _solve(self) -> Floats:
        return np.asarray(np.linalg.pinv(self._terms), np.float64)

    @cached_property
    def parameters(self) -> Floats:
        """ln k and the exponents, (P,)."""
        return self._solve @ self.log_x

    @property
    def variance(self) -> float:
        """Of ln x about the plane; NaN without a degree of freedom."""
        off = self.log_x - self._terms @ self.parameters
        return float((off**2).sum() / self.freedom) if self.freedom > 0 else np.nan

    def drawn(self, noise: float, resamples: int, rng: np.random.Generator) -> Floats:
        """Parameters (resamples, P) as the scatter about the plane, or `noise` (variance of ln x)
        where that is more, leaves them uncertain: Student's t of its degrees of freedom."""
        chi = rng.chisquare(self.freedom, resamples) / self.freedom
        size = np.sqrt(max(self.variance, noise) / chi)
        scatter = size[:, None] * rng.standard_normal((resamples, len(self.log_x)))
        return self.parameters + scatter @ self._solve.T
