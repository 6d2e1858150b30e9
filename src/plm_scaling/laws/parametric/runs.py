"""The runs of a parametric fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.checks import as_labels, check_runs
from plm_scaling.laws.parametric.optima import Optimum, resample_optima
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.stats.intervals import Floats, Labels, multiplicities

LEVEL = 0.05  # of N and D; values closer together say the same of an exponent
MIN_RUNS = 6  # five parameters and something left to judge them by


@dataclass(frozen=True)
class Runs:
    """Non-embedding parameters, tokens, nats/token and name of each run, arrays (n,), and where
    rows are not independent the label of what they belong to."""

    n_params: Floats
    tokens: Floats
    loss: Floats
    run: Labels
    group: Labels | None

    @classmethod
    def of(cls, n_params: Any, tokens: Any, loss: Any, run: Any, group: Any) -> "Runs":
        """From what callers give; raises LawError for what is no such column."""
        n_params, tokens, loss = check_runs(n_params=n_params, tokens=tokens, loss=loss)
        n = len(loss)
        names = [f"run {i}" for i in range(n)] if run is None else run
        labels = None if group is None else as_labels("group", group, n)
        return cls(n_params, tokens, loss, as_labels("run", names, n), labels)

    @property
    def flops(self) -> Floats:
        """6·N·D."""
        return 6 * self.n_params * self.tokens

    @property
    def distinct(self) -> int:
        """How many different (N, D) there are."""
        return len(np.unique(np.stack([self.n_params, self.tokens]), axis=1).T)

    @property
    def levels(self) -> dict[str, int]:
        """How many sizes and amounts of tokens there are that differ by more than LEVEL."""
        return {"sizes": _levels(self.n_params), "amounts of tokens": _levels(self.tokens)}

    @property
    def unit(self) -> str:
        """What is resampled."""
        return "runs" if self.group is None else "groups"

    @property
    def labels(self) -> Labels:
        """What each row belongs to: its group, or itself."""
        return self.run if self.group is None else self.group

    @property
    def units(self) -> int:
        """How many independent runs or groups there are."""
        return len(self.loss if self.group is None else np.unique(self.group))

    def some(self, chosen: NDArray[np.bool_]) -> "Runs":
        """Those `chosen`."""
        columns = self.n_params[chosen], self.tokens[chosen], self.loss[chosen], self.run[chosen]
        return Runs(*columns, None if self.group is None else self.group[chosen])

    def surface(self, delta: float) -> Surface:
        """As the misfit needs them."""
        return Surface.of(self.n_params, self.tokens, self.loss, delta)

    def refits(self, surface: Surface, optima: list[Optimum], resamples: int, seed: int) -> Floats:
        """θ (R, 5) of resamples of the runs or groups; NaN with too few of them, or where the fit
        did not converge."""
        counts = multiplicities(len(self.loss), resamples, seed, self.group, len(NAMES))
        usable = (counts > 0).sum(axis=1) >= MIN_RUNS
        samples = np.full((resamples, 5), np.nan)
        if usable.any():
            samples[usable] = resample_optima(surface, optima, counts[usable])
        return samples


def _levels(values: Floats) -> int:
    found, start = 0, 0.0
    for value in np.sort(values):
        if value > start * (1 + LEVEL):
            found, start = found + 1, float(value)
    return found
