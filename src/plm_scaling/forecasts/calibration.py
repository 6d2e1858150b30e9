"""How many of the intervals held, with an interval of its own."""

from dataclasses import dataclass

import pandas as pd
from scipy import special

from plm_scaling.forecasts.outcomes import WHATS
from plm_scaling.forecasts.record import LEVEL


@dataclass(frozen=True)
class Calibration:
    """Of forecasts of one kind, those with an outcome: how many, at how many budgets, how many
    held, and the share of intervals that would hold in the long run, with its interval at LEVEL."""

    what: str
    forecasts: int
    budgets: int
    held: int
    interval: tuple[float, float]

    @property
    def share(self) -> float:
        return self.held / self.forecasts


def calibration(outcomes: pd.DataFrame) -> list[Calibration]:
    """Of each kind that has outcomes (forecasts.csv). Forecasts of one budget rest on one fit and
    fail together: they are fewer independent trials than forecasts, but at least the budgets."""
    found = []
    for what in WHATS:
        own = outcomes[(outcomes["what"] == what) & (outcomes["inside"] != "")]
        if own.empty:
            continue
        held = int((own["inside"] == "yes").sum())
        budgets = len(own.groupby(["objective", "corpus", "recipe", "flops_budget"]))
        found.append(Calibration(what, len(own), budgets, held, binomial_interval(held, len(own))))
    return found


def binomial_interval(held: int, trials: int) -> tuple[float, float]:
    """That of Clopper and Pearson (1934) for a share of `trials`, at LEVEL."""
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(held, trials - held + 1, tail)) if held else 0.0
    missed = trials - held
    high = float(special.betaincinv(held + 1, missed, 1 - tail)) if missed else 1.0
    return low, high
