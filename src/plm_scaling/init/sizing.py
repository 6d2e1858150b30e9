"""Budgets and sizes for so much compute and so many tokens.

The largest budget is the largest of a ladder of round numbers at which the whole sweep takes no
longer than the devices have, and at which some sizes on both sides of the expected minimum see no
token more often than `MAX_EPOCHS` times. Where the published laws reach, sizes go around their
optima; below, they are spread over all that may hold the minimum. The two largest budgets are
placed by what the study's own cheaper cells have shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from plm_scaling.common.errors import ConfigError, LawError
from plm_scaling.common.progress import short_number
from plm_scaling.config.load import validate_config
from plm_scaling.config.schema import Config
from plm_scaling.config.sweep import Designed, Objective
from plm_scaling.design.family import Cost, Ladder
from plm_scaling.design.place import sizes_around
from plm_scaling.design.prior import Prior, find_prior
from plm_scaling.design.simulate import Point
from plm_scaling.init.request import CPU_GFLOPS, Devices
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.study.cell import MAX_EPOCHS
from plm_scaling.study.hardware import GPUS
from plm_scaling.study.shapes import SHAPES

RUNGS = tuple(m * 10.0**e for e in range(8, 26) for m in (1, 1.5, 2, 3, 5, 7))
WIDE = (0.01, 0.03, 0.1, 0.3, 1.0)  # budgets as shares of the largest
NARROW = (0.1, 0.22, 0.45, 1.0)  # where a hundredth would be too little for whole steps
WIDE_FROM = 1e12  # FLOPs
PLACED = 2  # the largest budgets, each a stage of its own
FIRST_SIZES, FIRST_REACH = 7, 2.0
PLACED_SIZES, PLACED_REACH = 5, 1.7
AROUND_LAW = (3.0, 1e6)  # tokens per parameter
WITHOUT_LAW = (30.0, 40_000.0)
ROOM = 1.0  # ln N that must be possible below the expected minimum
SPAN = 2.5  # ln N between the smallest and the largest size, where no law says where the minimum is
FEWEST = 4  # sizes of a budget, of fewer no minimum is read
BEST_SHARE = 0.6  # of a GPU's peak; more is not assumed
PACKED = 0.9  # of the time that devices work, as cells do not end all at once
START_SECONDS = {"cpu": 12.0, "cuda": 60.0}  # of a cell, for programs to begin and end


@dataclass(frozen=True)
class Sizing:
    """A sweep: what of a config follows from it, what it costs and which cells it has."""

    config: Config
    sweep: dict[str, Any]
    """Keys of the block `sweep`."""
    cost: Cost
    """Of all cells, with the starts of their processes; hours of devices."""
    points: dict[Objective, list[Point]]
    """The expected cells by objective."""
    weights: int
    """Parameters of all models together, embeddings included."""
    fewest_tokens: float
    most_tokens: float
    """Of the cells with the fewest and the most."""
    wall_hours: float
    """That the sweep takes at least: a stage begins when the one before it has ended, and on CPUs,
    where each cell has one core, ends no sooner than its longest cell."""
    by_law: bool

    @property
    def cells(self) -> int:
        return sum(map(len, self.points.values()))

    @property
    def largest(self) -> float:
        """The largest budget, FLOPs."""
        return max(self.sweep["budgets_flops"])


@dataclass(frozen=True)
class Limits:
    """What a sweep may take."""

    devices: Devices
    objectives: tuple[Objective, ...]
    tokens: float
    """That the cell with the most may see: of unique ones, `MAX_EPOCHS` times as many."""

    @property
    def hours(self) -> float:
        """Of all devices."""
        return self.devices.count * self.devices.hours * PACKED

    @cached_property
    def priors(self) -> dict[Objective, Prior]:
        return {objective: find_prior(PUBLISHED_LAWS, objective) for objective in self.objectives}

    @property
    def affordable(self) -> float:
        """More FLOPs than the largest budget can have, whose cells alone take half of all, and of
        which on CPUs each has one core."""
        gpu, cells = self.devices.gpu, PLACED_SIZES * len(self.objectives)
        if gpu is None:
            return min(self.hours / cells, self.devices.hours) * 3600 * 1e9 * CPU_GFLOPS
        return self.hours / cells * 3600 * BEST_SHARE * GPUS[gpu].peak_flops_per_second

    def by_law(self, largest: float) -> bool:
        """Whether the published laws reach down to the cheapest budget."""
        try:
            for prior in self.priors.values():
                prior.check_reach(WIDE[0] * largest)
                prior.check_reach(largest)
        except LawError:
            return False
        return True

    def range_at(self, budget: float, largest: float) -> tuple[float, float]:
        """The ends of tokens per parameter at a budget, within the limit of tokens; those of the
        largest hold for all that are placed, as a config has one range for them."""
        placed = budget in budgets_of(largest)[-PLACED:]
        low, high = AROUND_LAW if self.by_law(largest) else WITHOUT_LAW
        return low, min(high, 6 * self.tokens**2 / (largest if placed else budget))

    def have_tokens(self, largest: float) -> bool:
        """Whether the tokens allow sizes on both sides of the minimum of each budget."""
        for budget in budgets_of(largest):
            low, high = self.range_at(budget, largest)
            if not self.by_law(largest):
                if np.log(high / low) < 2 * SPAN:
                    return False
                continue
            smallest = np.log(budget / 6 / high) / 2
            if any(prior.log_size(budget) - ROOM < smallest for prior in self.priors.values()):
                return False
        return True


def budgets_of(largest: float) -> list[float]:
    """The budgets (FLOPs) below and at the largest, to two digits."""
    shares = WIDE if largest >= WIDE_FROM else NARROW
    return [float(f"{share * largest:.2g}") for share in shares]


Complete = Callable[[dict[str, Any], float], dict[str, Any]]


def largest_within(limits: Limits, complete: Complete) -> tuple[Sizing, str]:
    """The largest sweep within the limits, and what limits it: tokens, compute or shapes.

    `complete` gives the whole config (as a mapping) for a block `sweep` and the tokens of the
    cell with the fewest. Raises `ConfigError` where not even the smallest fits.
    """
    allowed = [rung for rung in RUNGS if limits.have_tokens(rung)]
    least = None
    limit = "tokens" if allowed and allowed[-1] <= limits.affordable else "compute"
    for largest in (rung for rung in reversed(allowed) if rung <= limits.affordable):
        found = _sizing(limits, complete, largest)
        if found is not None and _in_time(found, limits):
            return found, limit
        limit, least = ("compute", found) if found else ("sizes", least)
    if least is None and (not allowed or allowed[-1] <= limits.affordable):
        raise ConfigError(
            f"{short_number(limits.tokens / MAX_EPOCHS)} unique training tokens are too few to "
            "train from scratch: models of any size would hardly learn more than residue "
            "frequencies; give more proteins (--mix uniref50), or adapt a released model to these "
            "(docs/downstream.md, LoRA)"
        )
    costs = ""
    if least:
        costs = (
            f", which takes about {least.cost.hours:.2g} {limits.devices.unit}, and "
            f"{least.wall_hours:.2g} hours with cells side by side"
        )
    raise ConfigError(
        f"{limits.devices.text} are too little for the smallest sweep{costs}; give more time "
        "(--days, --hours) or devices (--gpus), or one --objective"
    )


def _in_time(sizing: Sizing, limits: Limits) -> bool:
    return sizing.cost.hours <= limits.hours and sizing.wall_hours <= limits.devices.hours


def _sizing(limits: Limits, complete: Complete, largest: float) -> Sizing | None:
    """The sweep of this largest budget; None where a budget has too few sizes."""
    low, high = limits.range_at(largest, largest)
    budgets = budgets_of(largest)
    possible = [_possible(limits, budget, largest) for budget in budgets]
    sizes = [name for name in SHAPES if any(name in there for there in possible)]
    if len(sizes) < FEWEST:
        return None
    block = {
        "objectives": [*limits.objectives],
        "budgets_flops": budgets,
        "sizes": sizes,
        "tokens_per_parameter": [low, float(f"{high:.3g}")],
    }
    before = budgets[0] / 6 / SHAPES[sizes[-1]].n_params("study")  # fewer tokens than of any cell
    config = validate_config(complete(block, before), "init")
    ladder = Ladder(config, config.machine)
    designed: list[Designed] = []
    chosen: list[tuple[Objective, str, float]] = []
    fewest = np.inf
    for budget, objective in ((b, o) for b in budgets for o in limits.objectives):
        first = budget in budgets[:-PLACED]
        names = _sizes_at(limits, ladder, objective, budget, first, largest)
        if len(names) < FEWEST:
            return None
        if first:
            designed.append(Designed(objective=objective, flops=budget, sizes=names, seeds=[1]))
        for name in names:
            one = ladder.cell(objective, name, budget)
            assert one is not None
            fewest = min(fewest, one[0].tokens)
            chosen.append((objective, name, budget))
    used = {name for entry in designed for name in entry.sizes}
    used |= {name for there in possible[-PLACED:] for name in there}
    block["sizes"] = [name for name in sizes if name in used]
    block["designed"] = [entry.model_dump() for entry in designed]
    block["stages"] = [
        {"from_flops": c, "sizes": PLACED_SIZES, "reach": PLACED_REACH, "max_seeds": 1}
        for c in budgets[-PLACED:]
    ]
    config = validate_config(complete(block, fewest), "init")
    return _costed(limits, config, block, chosen, fewest)


def _costed(
    limits: Limits,
    config: Config,
    block: dict[str, Any],
    chosen: list[tuple[Objective, str, float]],
    fewest: float,
) -> Sizing | None:
    """What the chosen cells (objective, size, budget) cost with all that the config has, such as
    its evaluations; None if one of them cannot be trained so."""
    ladder = Ladder(config, config.machine)
    start = START_SECONDS[config.machine.backend] / 3600
    budgets = block["budgets_flops"]
    points: dict[Objective, list[Point]] = {objective: [] for objective in limits.objectives}
    stages: dict[float, list[float]] = {}  # device-hours of cells; the cheaper budgets are one
    flops = most_tokens = 0.0
    weights = 0
    for objective, name, budget in chosen:
        one = ladder.cell(objective, name, budget)
        if one is None:
            return None
        cell, cost = one
        points[objective].append(Point(cell.n_params, cell.tokens, budget, 1))
        stages.setdefault(max(budget, budgets[-PLACED - 1]), []).append(cost.hours + start)
        flops += cost.flops
        most_tokens = max(most_tokens, cell.tokens)
        weights += cell.n_params_total
    # A cell may have several GPUs, and then takes no longer than all of them do.
    one_core = limits.devices.gpu is None
    wall = sum(
        max(max(hours) if one_core else 0.0, sum(hours) / limits.devices.count)
        for hours in stages.values()
    )
    cost = Cost(flops, sum(map(sum, stages.values())))
    by_law = limits.by_law(budgets[-1])
    return Sizing(config, block, cost, points, weights, fewest, most_tokens, wall, by_law)


def _possible(limits: Limits, budget: float, largest: float) -> dict[str, int]:
    """Sizes in range at a budget: name to non-embedding parameters."""
    low, high = limits.range_at(budget, largest)
    counts = {name: shape.n_params("study") for name, shape in SHAPES.items()}
    return {name: n for name, n in counts.items() if low <= budget / 6 / n**2 <= high}


def _sizes_at(
    limits: Limits, ladder: Ladder, objective: Objective, budget: float, first: bool, largest: float
) -> list[str]:
    """The sizes of a budget: around the law's optimum, or over all that are possible."""
    known = {
        name: n
        for name, n in _possible(limits, budget, largest).items()
        if ladder.cell(objective, name, budget) is not None
    }
    if len(known) < FEWEST:
        return []
    count = FIRST_SIZES if first else PLACED_SIZES
    if limits.by_law(largest):
        prior = limits.priors[objective]
        reach = FIRST_REACH if first else PLACED_REACH
        sd = prior.log_size_sd(budget) if first else 0.0
        return sizes_around(prior.log_size(budget), sd, known, count, reach)
    ends = np.log([min(known.values()), max(known.values())])
    return sizes_around(float(ends.mean()), 0.0, known, count, float(np.ptp(ends)) / 2)
