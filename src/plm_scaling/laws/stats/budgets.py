"""IsoFLOP budgets: runs whose compute is the same up to the sweep's rounding, or nearly so."""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.stats.intervals import Floats

TOLERANCE = 0.03  # cells lie within 1 % of their budget; neighbouring budgets are far apart
REACH = 0.12  # a run this far off still says something about a budget, once moved to it


def group_budgets(
    flops: Floats, tolerance: float = TOLERANCE, reach: float = REACH
) -> list[tuple[float, NDArray[np.int64]]]:
    """(budget, indices of its runs), by rising budget.

    Runs within `tolerance` above the least FLOPs of them make a group, whose geometric mean is the
    budget. Then groups, those with most runs first, take the smaller groups' runs that lie within
    `reach` of their budget. (Rounding to one digit, as others do, would put 1.5e19 and 2.4e19
    together.)
    """
    order = np.argsort(flops, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if not groups or flops[i] > flops[groups[-1][0]] * (1 + tolerance):
            groups.append([])
        groups[-1].append(int(i))
    free = np.ones(len(flops), bool)
    budgets = []
    for group in sorted(groups, key=len, reverse=True):
        own = [i for i in group if free[i]]
        if not own:
            continue
        budget = float(np.exp(np.log(flops[own]).mean()))
        near = free & (np.abs(np.log(flops / budget)) <= np.log1p(reach))
        near[own] = True
        free &= ~near
        budgets.append((budget, np.flatnonzero(near)))
    return sorted(budgets, key=lambda pair: pair[0])


def loss_slope(groups: list[tuple[float, NDArray[np.int64]]], loss: Floats, sizes: int) -> Floats:
    """d ln L/d ln C of the lowest losses at each of the budgets, shape (budgets,).

    Central differences between the budgets with at least `sizes` runs, constant beyond them; zero
    where fewer than two have that many, for then nothing is known.
    """
    log_c = np.log([budget for budget, _ in groups])
    full = np.array([len(members) >= sizes for _, members in groups])
    if full.sum() < 2:
        return np.zeros(len(groups))
    lowest = np.log([loss[members].min() for _, members in groups])
    slopes = np.gradient(lowest[full], log_c[full])
    return np.interp(log_c, log_c[full], slopes)


def move_to_budgets(
    groups: list[tuple[float, NDArray[np.int64]]], flops: Floats, loss: Floats, sizes: int
) -> Floats:
    """The losses as they would be at exactly the budget's compute: L·(budget/C)^slope, (n,)."""
    moved = np.array(loss, float)
    for (budget, members), slope in zip(groups, loss_slope(groups, loss, sizes), strict=True):
        moved[members] *= (budget / flops[members]) ** slope
    return moved
