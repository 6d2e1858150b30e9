"""IsoFLOP budgets: runs whose compute is the same up to the sweep's rounding, or nearly so."""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.stats.intervals import Floats

EXACT = 0.01  # cells lie within this of their budget
TOLERANCE = 0.03  # neighbouring budgets are further apart
REACH = 0.12  # a run this far off still says something about a budget, once moved to it
WIDEST = 0.5  # of ln C; more than 25 % to either side is no one budget
FULL = 4  # runs of a group that is a budget beyond doubt
STRAY = 0.1  # of the runs; with more of them gaps say nothing
Groups = list[tuple[float, NDArray[np.int64]]]


def group_budgets(flops: Floats, budget: Floats | None = None) -> Groups:
    """(FLOPs, indices of its runs) of each budget, by rising FLOPs, a geometric mean of the runs.

    Runs of the same `budget` (NaN where not told) belong together. The others are grouped by gaps
    in ln C if these are plain (`_apart`). If not, runs within TOLERANCE above the least FLOPs of
    them make a group; then groups, those with most runs first, take the smaller groups' runs that
    lie within REACH of them. (Rounding to one digit, as others do, would put 1.5e19 and 2.4e19
    together.)
    """
    told = np.isfinite(budget) if budget is not None else np.zeros(len(flops), bool)
    rest = np.flatnonzero(~told)
    same = [] if budget is None else [np.flatnonzero(budget == c) for c in np.unique(budget[told])]
    groups = [_group(flops, i) for i in same]
    groups += [(c, rest[i]) for c, i in _apart(flops[rest]) or _near(flops[rest])]
    return sorted(groups, key=lambda group: group[0])


def _group(flops: Floats, members: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    return float(np.exp(np.log(flops[members]).mean())), members


def _apart(flops: Floats) -> Groups:
    """Groups as a reader sees them, each narrower than every gap between two, at their median
    FLOPs; [] if there are none.

    Of the possible splits that counts whose gaps are widest against its groups, if all but a few
    runs (STRAY) lie in groups of at least FULL.
    """
    order = np.argsort(flops, kind="stable")
    log_c = np.log(flops[order])
    gaps = np.diff(log_c)
    best, cuts = 1.0, None
    for gap in np.unique(gaps[gaps > np.log1p(TOLERANCE)]):
        ends = np.append(np.flatnonzero(gaps >= gap), len(log_c) - 1)
        runs = np.diff(ends, prepend=-1)
        width = float((log_c[ends] - log_c[ends - runs + 1]).max())
        ratio = float(gap) / max(width, EXACT)
        if width <= WIDEST and runs[runs < FULL].sum() <= STRAY * len(flops) and ratio > best:
            best, cuts = ratio, ends[:-1] + 1
    if cuts is None:
        return []
    groups = [np.sort(i) for i in np.split(order, cuts)]
    return [(float(np.exp(np.median(np.log(flops[i])))), i) for i in groups]


def _near(flops: Floats) -> Groups:
    order = np.argsort(flops, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if not groups or flops[i] > flops[groups[-1][0]] * (1 + TOLERANCE):
            groups.append([])
        groups[-1].append(int(i))
    free = np.ones(len(flops), bool)
    budgets = []
    for group in sorted(groups, key=len, reverse=True):
        own = np.array([i for i in group if free[i]], int)
        if not len(own):
            continue
        budget, _ = _group(flops, own)
        near = free & (np.abs(np.log(flops / budget)) <= np.log1p(REACH))
        near[own] = True
        free &= ~near
        budgets.append((budget, np.flatnonzero(near)))
    return budgets


def loss_slope(groups: Groups, loss: Floats, sizes: int) -> Floats:
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


def move_to_budgets(groups: Groups, flops: Floats, loss: Floats, sizes: int) -> Floats:
    """The losses as they would be at exactly the budget's compute: L·(budget/C)^slope, (n,)."""
    moved = np.array(loss, float)
    for (budget, members), slope in zip(groups, loss_slope(groups, loss, sizes), strict=True):
        moved[members] *= (budget / flops[members]) ** slope
    return moved
