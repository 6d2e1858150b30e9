"""The designs that are compared: which budgets, how many sizes at each, how far apart, which seeds.

Few numbers describe one: the budgets of the config, without the one or two largest, or with one
more between each two; a number of sizes, the same at all budgets or fewer from the cheapest to the
largest, spread over e^±reach of the expected minimum; one seed, or two at the cheaper half.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import SweepError
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Designed, Objective
from plm_scaling.design.place import sizes_around
from plm_scaling.design.prior import Prior
from plm_scaling.design.simulate import Point
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.make import make_cell, shape_of
from plm_scaling.sweep.settings import settings

COUNTS = ((4, 4), (5, 5), (8, 8), (6, 4), (8, 5), (12, 4))
"""Sizes at the cheapest and at the largest budget; in between they fall with ln C."""
REACHES = (1.5, 1.85, 2.2)
SEEDS = (1, 2)
LEFT_OUT = (0, 1, 2)
FEWEST_BUDGETS = 4


class Cost(NamedTuple):
    """Of cells: 6·N·D, and the hours of all their processes."""

    flops: float
    hours: float


@dataclass(frozen=True)
class Design:
    """The cells of one objective, and what they are made by."""

    objective: Objective
    budgets: tuple[float, ...]
    counts: tuple[int, int]
    reach: float
    seeds: int
    entries: tuple[Designed, ...]
    points: tuple[Point, ...] = field(repr=False)
    cost: Cost

    @property
    def n_cells(self) -> int:
        """Per corpus and recipe."""
        return len(self.points)


@dataclass(frozen=True)
class Ladder:
    """What can be trained: the sizes of a config at any budget, and what a cell of them costs."""

    config: SweepInputs
    machine: Machine
    _known: dict[tuple[str, str, float], tuple[Cell, Cost] | None] = field(default_factory=dict)

    @cached_property
    def copies(self) -> int:
        """Every cell is trained on each corpus, in each recipe, with each setting of the axes."""
        sweep = self.config.sweep
        return len(sweep.corpora) * len(sweep.recipes) * len([*settings(self.config)])

    def cell(self, objective: Objective, size: str, budget: float) -> tuple[Cell, Cost] | None:
        """The cell and what it costs; None where whole steps do not meet the budget, or where the
        model does not fit on the machine."""
        key = (objective, size, budget)
        if key not in self._known:
            sweep = self.config.sweep
            where = (objective, sweep.corpora[0], sweep.recipes[0], size)
            try:
                cell = make_cell(
                    self.config, *where, shape_of(self.config, size), budget, sweep.seeds[0]
                )
                cost = self.cost_of(cell)
            except SweepError:
                self._known[key] = None
            else:
                self._known[key] = cell, cost
        return self._known[key]

    def cost_of(self, cell: Cell) -> Cost:
        """Of one cell."""
        layout = choose_layout(cell, self.machine)
        return Cost(cell.flops, estimated_hours(cell, layout, self.machine) * layout.processes)

    def sizes(self, objective: Objective, budget: float) -> dict[str, int]:
        """Those that can be trained at a budget: name to non-embedding parameters."""
        found = {size: self.cell(objective, size, budget) for size in self.config.sweep.sizes}
        return {size: one[0].n_params for size, one in found.items() if one}

    def design(
        self,
        prior: Prior,
        objective: Objective,
        budgets: tuple[float, ...],
        counts: tuple[int, int],
        reach: float,
        seeds: int,
    ) -> Design:
        """One of the family, with the cells that `sweep.transfer` compares with."""
        partners = self._partners(objective)
        numbers = np.interp(
            np.log(budgets), np.log([budgets[0], budgets[-1]]), np.array(counts, float)
        )
        entries = []
        for i, (budget, number) in enumerate(zip(budgets, numbers, strict=True)):
            known = self.sizes(objective, budget)
            expected = prior.log_size(budget), prior.log_size_sd(budget)
            names = sizes_around(*expected, known, round(float(number)), reach)
            names = with_partners(names, partners.pop(budget, []), known)
            repeated = seeds if i < (len(budgets) + 1) // 2 else 1
            entries.append(self._entry(objective, budget, names, repeated))
        entries += [self._entry(objective, c, names, 1) for c, names in partners.items()]
        points, flops, hours = [], 0.0, 0.0
        for entry, size in ((e, s) for e in entries for s in e.sizes):
            one = self.cell(objective, size, entry.flops)
            assert one is not None
            cell, cost = one
            points += [Point(cell.n_params, cell.tokens, entry.flops, s) for s in entry.seeds]
            flops += cost.flops * len(entry.seeds) * self.copies
            hours += cost.hours * len(entry.seeds) * self.copies
        total = Cost(flops, hours)
        return Design(
            objective, budgets, counts, reach, seeds, tuple(entries), tuple(points), total
        )

    def family(self, prior: Prior, objective: Objective) -> Iterator[Design]:
        """All designs."""
        budgets = sorted(self.config.sweep.budgets_flops)
        for n_left_out, dense in product(LEFT_OUT, (False, True)):
            kept = budgets[: len(budgets) - n_left_out]
            if dense:
                kept = sorted([*kept, *between(kept)])
            if len(kept) < min(FEWEST_BUDGETS, len(budgets)):
                continue
            for counts, reach, seeds in product(COUNTS, REACHES, SEEDS):
                yield self.design(prior, objective, tuple(kept), counts, reach, seeds)

    def _entry(self, objective: Objective, budget: float, sizes: list[str], seeds: int) -> Designed:
        first = self.config.sweep.seeds[0]
        numbers = [first + i for i in range(seeds)]
        return Designed(objective=objective, flops=budget, sizes=sizes, seeds=numbers)

    def _partners(self, objective: Objective) -> dict[float, list[str]]:
        """Sizes by budget that transferred cells are compared with, where the grid trains them."""
        sweep = self.config.sweep
        partners: dict[float, list[str]] = {}
        for pair in sweep.transfer:
            in_grid = pair.objective == objective and pair.flops in sweep.budgets_flops
            if in_grid and pair.size in self.sizes(objective, pair.flops):
                partners.setdefault(pair.flops, []).append(pair.size)
        return partners


def between(budgets: list[float]) -> list[float]:
    """One more budget between each two, to two digits."""
    return [float(f"{np.sqrt(low * high):.2g}") for low, high in pairwise(budgets)]


def with_partners(chosen: list[str], needed: list[str], known: dict[str, int]) -> list[str]:
    """`chosen` sizes, of which those nearest to the `needed` ones give way to them."""
    names = list(chosen)
    for size in needed:
        if size not in names:
            free = [name for name in names if name not in needed]
            if free:
                names.remove(min(free, key=lambda name: abs(np.log(known[name] / known[size]))))
            names.append(size)
    return sorted(names, key=lambda name: known[name])
