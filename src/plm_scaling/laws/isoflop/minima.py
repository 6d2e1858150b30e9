"""The accepted minima with their resamples, and the laws through them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.laws.isoflop.parabola import MIN_SIZES, Parabola, fit_parabola
from plm_scaling.laws.isoflop.resample import Noise, resample_vertices
from plm_scaling.laws.stats.budgets import group_budgets, move_to_budgets
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.loss_law import LossFit, fit_loss
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws
from plm_scaling.laws.stats.scatter import Scattered
from plm_scaling.laws.status import Minimum


@dataclass(frozen=True)
class Minima:
    """Budgets (P,) that have a minimum; ln N and the loss there in each resample, (R, P)."""

    accepted: list[Parabola]
    log_n: Floats
    loss: Floats
    seed: int

    @classmethod
    def of(
        cls, accepted: list[Parabola], noise: Noise, window: float, resamples: int, seed: int
    ) -> "Minima":
        """The minima of parabolas and `resamples` of them."""
        return cls(accepted, *resample_vertices(accepted, noise, window, resamples, seed), seed)

    def without_last(self) -> "Minima":
        """All but the largest budget."""
        return Minima(self.accepted[:-1], self.log_n[:, :-1], self.loss[:, :-1], self.seed)

    @property
    def budgets(self) -> Floats:
        """FLOPs (P,)."""
        return np.array([p.budget for p in self.accepted])

    @cached_property
    def _vertices(self) -> Floats:
        """ln N, ln D, L and the standard deviations of ln N and L, (5, P)."""
        rows = [(*p.vertex, *p.sd) for p in self.accepted if p.vertex and p.sd]
        n, d, loss, *sd = np.array(rows, float).reshape(-1, 5).T
        return np.array([np.log(n), np.log(d), loss, *sd])

    @cached_property
    def sizes(self) -> Scattered:
        """N of the minima about its power law."""
        log_n, _, _, sd, _ = self._vertices
        return Scattered(np.log(self.budgets), log_n, sd**2)

    def laws(self) -> dict[str, PowerLaw]:
        """N(C) and D(C); empty with fewer than two minima."""
        if len(self.accepted) < 2:
            return {}
        return {"N": self.sizes.law, "D": self.sizes.laws(self._vertices[1][None]).first}

    def resampled_laws(self) -> dict[str, PowerLaws]:
        """The same of each resample, with scatter of a size that the minima allow."""
        log_n = self.log_n + self.scatter(self.log_n.shape)
        log_d = [
            p.fit.log_tokens(p.budget, log_n[:, i]) for i, p in enumerate(self.accepted) if p.fit
        ]
        drawn = np.reshape(log_d, (len(self.accepted), len(log_n))).T
        return {"N": self.sizes.laws(log_n), "D": self.sizes.laws(drawn)}

    def scatter(self, shape: tuple[int, int]) -> Floats:
        """Scatter of ln N beyond noise, (R, points)."""
        return self.sizes.drawn(shape, np.random.default_rng([self.seed, shape[1]]))

    def loss_fit(self) -> LossFit | None:
        """L(C); None with fewer than two minima."""
        if len(self.accepted) < 2:
            return None
        _, _, loss, _, sd = self._vertices
        return fit_loss(np.log(self.budgets), loss, self.loss, sd)


def find_minima(
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    loss: Floats,
    loss_sd: Floats | None,
    budget: Floats | None,
    window: float,
    bootstrap: int,
    seed: int,
) -> tuple[list[Parabola], Noise, Minima]:
    """The parabola of each budget, the noise about all, and the minima of those that count.

    Arguments as of `fit_isoflop`.
    """
    groups = group_budgets(flops, budget)
    moved = move_to_budgets(groups, flops, loss, MIN_SIZES)
    excess = np.log(6 * n_params * tokens / flops)
    parabolas = [fit_parabola(c, n_params, moved, excess, i, window) for c, i in groups]
    noise = Noise.of(parabolas, loss_sd)
    parabolas = [p.judged(noise.of_runs(p), noise.freedom) for p in parabolas]
    accepted = [p for p in parabolas if p.status == Minimum.ACCEPTED]
    return parabolas, noise, Minima.of(accepted, noise, window, bootstrap, seed)
