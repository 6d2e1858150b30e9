"""The accepted minima with their resamples, and the power laws through them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.laws.isoflop.parabola import Parabola
from plm_scaling.laws.isoflop.resample import Noise, resample_vertices
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws
from plm_scaling.laws.stats.scatter import Scattered


@dataclass(frozen=True)
class Minima:
    """Budgets (P,) that have a minimum; ln N and ln L there in each resample, (R, P)."""

    accepted: list[Parabola]
    log_n: Floats
    log_l: Floats
    seed: int

    @classmethod
    def of(
        cls, accepted: list[Parabola], noise: Noise, window: float, resamples: int, seed: int
    ) -> "Minima":
        """The minima of parabolas and `resamples` of them."""
        return cls(accepted, *resample_vertices(accepted, noise, window, resamples, seed), seed)

    def without_last(self) -> "Minima":
        """All but the largest budget."""
        return Minima(self.accepted[:-1], self.log_n[:, :-1], self.log_l[:, :-1], self.seed)

    @property
    def budgets(self) -> Floats:
        """FLOPs (P,)."""
        return np.array([p.budget for p in self.accepted])

    @cached_property
    def _vertices(self) -> Floats:
        """ln N, ln D, ln L and the standard deviations of ln N and ln L, (5, P)."""
        rows = [
            (*np.log(p.vertex), p.sd[0], p.sd[1] / p.vertex[2])
            for p in self.accepted
            if p.vertex and p.sd
        ]
        return np.array(rows, float).reshape(-1, 5).T

    @cached_property
    def sizes(self) -> Scattered:
        """N of the minima about its power law."""
        log_n, _, _, sd, _ = self._vertices
        return Scattered(np.log(self.budgets), log_n, sd**2)

    @cached_property
    def losses(self) -> Scattered:
        """L of the minima about its power law."""
        _, _, log_l, _, sd = self._vertices
        return Scattered(np.log(self.budgets), log_l, sd**2)

    def laws(self) -> dict[str, PowerLaw]:
        """N(C), D(C) and L(C); empty with fewer than two minima."""
        if len(self.accepted) < 2:
            return {}
        log_d = self._vertices[1]
        tokens = self.sizes.laws(log_d[None]).first
        return {"N": self.sizes.law, "D": tokens, "L": self.losses.law}

    def scatter(self, resamples: int, points: int) -> dict[str, Floats]:
        """Scatter of ln N and ln L beyond noise, (resamples, points), of a size that the minima
        allow."""
        rng = np.random.default_rng([self.seed, points])
        shape = resamples, points
        return {"N": self.sizes.drawn(shape, rng), "L": self.losses.drawn(shape, rng)}

    def resampled_laws(self) -> dict[str, PowerLaws]:
        """The same of each resample, with scatter."""
        scatter = self.scatter(*self.log_n.shape)
        log_n = self.log_n + scatter["N"]
        log_d = [
            p.fit.log_tokens(p.budget, log_n[:, i]) for i, p in enumerate(self.accepted) if p.fit
        ]
        return {
            "N": self.sizes.laws(log_n),
            "D": self.sizes.laws(np.reshape(log_d, (len(self.accepted), len(log_n))).T),
            "L": self.losses.laws(self.log_l + scatter["L"]),
        }
