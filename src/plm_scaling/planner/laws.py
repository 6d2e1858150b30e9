"""The laws that a plan rests on: which files, and what they give with its interval."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.common.files import read_json
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.stats.intervals import Floats, Interval
from plm_scaling.laws.stats.power import along
from plm_scaling.laws.verdict import around
from plm_scaling.planner.surface import Surface, surface_of

OPTIMA = ("isoflop", "parametric", "frontier")  # those that give N and D, the first one counts
ANY = "any"  # objective of a law fitted to a table that does not say; `runs.tables` needs pandas
OWN = "own"  # study of a law that is fitted by hand
FAR = 1e6  # from the compute that reaches a loss: how far the ends of its interval are sought


@dataclass(frozen=True)
class Estimate:
    """A value and its interval, None where there is none; an end may be infinite."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Laws:
    """The law of the optima for one objective, and what lies beside it."""

    objective: str
    path: Path
    optima: LawResult
    files: dict[str, Path]
    """Of all laws of the objective, by name."""

    def other(self, name: str) -> LawResult | None:
        """The law of a name, None where there is none."""
        return read_law(self.files[name]) if name in self.files else None

    @cached_property
    def surface(self) -> Surface:
        """The loss of every run."""
        return surface_of(self.optima)

    @property
    def name(self) -> str:
        """How to call it."""
        whose = self.path.name if self.optima.study == OWN else f"the {self.optima.study} study"
        return f"the {self.optima.law} law of {whose}"

    @property
    def level(self) -> float:
        """Of the intervals."""
        return self.optima.equations["N"].level

    @property
    def fitted(self) -> Interval:
        """The smallest and the largest compute that the law was fitted to."""
        flops = [row["flops"] for row in self._rows if not row["extrapolated"]]
        return min(flops), max(flops)

    def size(self, flops: float) -> Estimate:
        """N_opt of a compute."""
        return self._within("n_params", flops, float(self.surface.size(flops)))

    def loss(self, n_params: float, worths: Sequence[tuple[float, float]]) -> Estimate:
        """The loss of a run of this size.

        `worths` are what its tokens are worth in fresh ones and what repeats add to the loss: as
        estimated, and at the ends of an interval. The interval also holds that the optimum may lie
        elsewhere.
        """
        value = float(self.surface.loss(self.surface.equivalent(n_params, worths[0][0])))
        value += worths[0][1]
        drawn = self.optima.details.get("draws")
        ends = [
            end and end + penalty
            for worth, penalty in worths
            for end in (
                _of_draws(np.array(drawn, float), n_params, worth, self.level)
                if drawn
                else self._of_moved(n_params, worth)
            )
        ]
        known = [end for end in ends if end is not None]
        inside = len(known) == len(ends) and around(value, (min(known), max(known)))
        return Estimate(value, inside or None)

    def optimal_loss(self, flops: float) -> Estimate:
        """The lowest loss of a compute."""
        return self._within("loss", flops, float(self.surface.loss(flops)))

    def flops(self, loss: float) -> Estimate:
        """The least compute that reaches a loss; an end is infinite where the law's interval never
        gets there."""
        value = float(self.surface.loss.inverse(loss))
        grid = value * np.geomspace(1 / FAR, FAR, 601)
        bands = [self.optimal_loss(c).interval for c in grid]
        if any(band is None for band in bands):
            return Estimate(value)
        reached = [[band is not None and band[i] <= loss for band in bands] for i in (0, 1)]
        low, high = (float(grid[np.argmax(r)]) if any(r) else np.inf for r in reached)
        return Estimate(value, around(value, (min(low, value), max(high, value))))

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return self.optima.details["frontier"]

    def _within(self, name: str, flops: float, value: float) -> Estimate:
        """The value with the interval of a column of the law's table: the ratio of its ends to the
        column, by lines through the logarithms, between the rows and beyond along the last two."""
        columns = [(row[name], row[f"{name}_interval"]) for row in self._rows]
        if any(interval is None for _, interval in columns):
            return Estimate(value)
        x = np.log([row["flops"] for row in self._rows])
        ratios = np.log([[end / row for end in interval] for row, interval in columns])
        low, high = (float(np.exp(along(x, ratios[:, i], np.log(flops)))) for i in (0, 1))
        return Estimate(value, around(value, (value * low, value * high)))

    def _of_moved(self, n_params: float, worth: float) -> list[float | None]:
        """Ends of the loss with the optimum where it is estimated and at the ends of its
        interval."""
        optimum = self.size(float(self.surface.equivalent(n_params, worth)))
        sizes = (optimum.value, *(optimum.interval or ()))
        ends: list[float | None] = []
        for size in sizes:
            surface = self.surface.moved(size / optimum.value)
            interval = self.optimal_loss(float(surface.equivalent(n_params, worth))).interval
            ends += interval or (None,)
        return ends


def _of_draws(draws: Floats, n_params: float, worth: float, level: float) -> list[float | None]:
    """Ends of the loss over resampled rows (S, 5) of E, A, B, α, β."""
    e, a, b, alpha, beta = draws.T
    losses = e + a / n_params**alpha + b / worth**beta
    return [float(end) for end in np.quantile(losses, [(1 - level) / 2, (1 + level) / 2])]


def find_laws(where: Path, objective: str | None) -> Laws:
    """The laws of an objective in a file or a folder, of whatever names.

    Without `objective` there must be laws of only one; those fitted to runs that do not say theirs
    count for either. Raises LawError if no law gives N and D.
    """
    laws = _law_files(where)
    present = sorted({said for _, said, law in laws if law in OPTIMA})
    if objective is None and len(present) > 1:
        raise LawError(f"{where}: laws of {', '.join(present)}; say which with --objective")
    objective = objective or (present[0] if present else ANY)
    found: dict[str, Path] = {}
    for path, said, name in sorted(laws, key=lambda law: law[1] == ANY):
        if said not in (objective, ANY) or (name in found and said == ANY):
            continue
        if name in found:
            raise LawError(f"{found[name]} and {path} are both {said} {name} laws: give one file")
        found[name] = path
    why = []
    for name in (name for name in OPTIMA if name in found):
        law = read_law(found[name])
        if law.details.get("frontier"):
            return Laws(objective, found[name], law, found)
        status = law.status.replace("_", " ")
        why.append(f"{found[name]}: the law is {status} and gives no N and D at any compute")
    problem = "; ".join(why) or f"{where}: no law of objective {objective} gives N and D"
    raise LawError(
        f"{problem}; fit isoflop or parametric to runs at several budgets (`plm-scaling fit`)"
    )


def _law_files(where: Path) -> list[tuple[Path, str, str]]:
    """(file, objective, law) of each law file; other files of a folder are left out."""
    if not where.is_dir():
        law = read_law(where)
        return [(where, law.objective, law.law)]
    laws = []
    for path in sorted(where.glob("*.json")):
        with suppress(ValueError, KeyError, TypeError):
            value = read_json(path)
            laws.append((path, value["objective"], value["law"]))
    return laws
