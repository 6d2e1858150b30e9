"""A question with the laws that answer it: the run, its loss, and how far either may be off."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.config.sweep import Objective
from plm_scaling.laws.verdict import around
from plm_scaling.planner.laws import Estimate, Laws
from plm_scaling.planner.question import Given
from plm_scaling.planner.repeats import Repeats, repeats_of
from plm_scaling.planner.solve import Run, equivalent, solve, target_of
from plm_scaling.planner.surface import Surface

SAME = 1 + 1e-6


@dataclass(frozen=True)
class Case:
    """What is given and the laws."""

    asked: Given
    laws: Laws

    @cached_property
    def repeats(self) -> Repeats:
        """What repeated tokens are worth."""
        return repeats_of(self.laws, self.asked.unique_tokens)

    @property
    def kind(self) -> Objective:
        """The objective whose batches and learning rates are taken."""
        return "mlm" if self.laws.objective == "mlm" else "clm"

    @cached_property
    def run(self) -> Run:
        """The answer."""
        return self._solved()

    @cached_property
    def equivalent(self) -> float:
        """The compute that the best run on fresh tokens needs for the same loss."""
        if np.isnan(self.laws.surface.exponents):  # only optima are known, and this is one
            return self.run.flops
        return float(equivalent(self.laws.surface, self.repeats, *self.run))

    @cached_property
    def loss(self) -> Estimate:
        """Of the run, nats/token."""
        if np.isnan(self.laws.surface.exponents):
            return self.laws.optimal_loss(self.run.flops)
        repeats, tokens = self.repeats, self.run.tokens
        worths = [
            (float(repeats.worth(tokens, end)), float(repeats.penalty(tokens, end)))
            for end in repeats.ends
        ]
        return self.laws.loss(self.run.n_params, worths)

    def loss_of(self, run: Run) -> float | None:
        """Of another run; None where the law holds only optima."""
        surface = self.laws.surface
        if np.isnan(surface.exponents):
            return None
        return float(surface.loss(equivalent(surface, self.repeats, *run)))

    def but(self, **changes: Any) -> "Case":
        """The same with something else given."""
        return replace(self, asked=self.asked._replace(**changes))

    def estimates(self) -> tuple[Estimate, Estimate, Estimate]:
        """N, D and 6·N·D, each from the least to the most over what is not known: where the optima
        lie, which compute has the loss, what repeats are worth. None of what was given."""
        optimum = self.laws.size(self.equivalent)
        moves = [end / optimum.value for end in optimum.interval or ()]
        targets: list[float | None] = [None]
        if self.asked.loss is not None:
            reaching = self.laws.flops(self.asked.loss)
            targets = [reaching.value, *(reaching.interval or (np.inf,))]
        runs = [self._varied(*how) for how in product([1.0, *moves], targets, self.repeats.ends)]
        found = []
        for value, values in zip(
            self.run.all, zip(*(r.all for r in runs), strict=True), strict=True
        ):
            low, high = min(*values, value), max(*values, value)
            varies = bool(moves) and high > SAME * low
            found.append(Estimate(value, around(value, (low, high)) if varies else None))
        return found[0], found[1], found[2]

    def _varied(self, move: float, target: float | None, end: int) -> Run:
        """The run with other optima; infinite where no run reaches the loss."""
        try:
            return self._solved(self.laws.surface.moved(move), target, end)
        except LawError:
            return Run(self.asked.n_params or np.inf, self.asked.tokens or np.inf)

    def _solved(
        self, surface: Surface | None = None, target: float | None = None, end: int = 0
    ) -> Run:
        asked, surface = self.asked, surface or self.laws.surface
        if asked.loss is not None and target is None:
            target = target_of(surface, asked.loss)
        if target is not None and np.isinf(target):
            raise LawError("the loss is never reached")
        amounts = (asked.flops, asked.n_params, asked.tokens, target, asked.served)
        return solve(surface, self.repeats, *amounts, end=end)
