"""What each design costs and buys, and which one to take."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import SweepError
from plm_scaling.design.family import Cost, Design
from plm_scaling.design.prior import Prior
from plm_scaling.design.request import Asked
from plm_scaling.design.screen import screened
from plm_scaling.design.simulate import Expected, expect, together

DRAWS = range(60)  # simulated sweeps of a design that may be the best
MORE = range(60, 180)  # further ones of a design that came out well, perhaps by luck
LIKELY = 0.93  # share of their intervals that hold the truth, of the first
SURE = 0.95  # and of all, as 95 % intervals should
SIMULATED = 10  # designs: of so many steps of cost, the one that looks best
ROWS = 8
FLOPS = "FLOPs"


class Row(NamedTuple):
    """A design and what it is expected to say."""

    design: Design
    expected: Expected


CostOf = Callable[[Cost], float]


def front(designs: Iterable[Design], asked: Asked, prior: Prior, cost_of: CostOf) -> list[Row]:
    """The designs than which no cheaper one has a narrower interval, by rising cost.

    All are ranked by propagation of errors, the best of each step of cost is simulated, and what
    then makes a front is simulated on more truths. Designs whose intervals hold the truth too
    rarely are left out both times, unless all are of that kind. Raises `SweepError` where none is
    expected to find a law.
    """
    ranked = sorted(designs, key=lambda design: cost_of(design.cost))
    steps = np.geomspace(cost_of(ranked[0].cost), cost_of(ranked[-1].cost), SIMULATED + 1)[1:-1]
    best: dict[int, tuple[float, Design]] = {}
    for design in ranked:
        step = int(np.searchsorted(steps, cost_of(design.cost)))
        width = screened(asked, design.points, prior)
        if width < best.get(step, (np.inf, design))[0]:
            best[step] = width, design
    rows = [Row(d, expect(asked, d.points, prior, DRAWS)) for _, d in best.values()]
    again = [
        Row(design, together([said, expect(asked, design.points, prior, MORE)]))
        for design, said in _narrowing(rows, LIKELY)
    ]
    if not (found := _narrowing(again, SURE)):
        raise SweepError(
            "no design of these budgets and sizes is expected to find a law: it takes minima "
            "inside the sizes at three budgets or more; add sweep.budgets_flops or sizes"
        )
    return found


def _narrowing(rows: list[Row], coverage: float) -> list[Row]:
    """Of rows by rising cost those whose intervals hold the truth so often, or all if none does,
    and of these each that is narrower than all before it."""
    sure = [row for row in rows if row.expected.coverage >= coverage] or rows
    narrowest, kept = np.inf, []
    for row in sure:
        width = row.expected.half_width
        if width < narrowest:
            kept.append(row)
            narrowest = width
    return kept


def cheapest(rows: list[Row], half_width: float) -> Row:
    """The first of a front whose interval is no wider. Raises `SweepError` if there is none."""
    for row in rows:
        if row.expected.half_width <= half_width:
            return row
    best = min(row.expected.half_width for row in rows)
    raise SweepError(
        f"no design of these budgets and sizes is expected to reach ±{half_width:.3g}; the "
        f"narrowest reaches ±{best:.3g}: ask for less (--precision), or add larger budgets_flops"
    )


def narrowest(
    rows: list[Row], limit: float, cost_of: CostOf, unit: str, one_of_several: str = ""
) -> Row:
    """The last of a front that costs no more. Raises `SweepError` if there is none, which says so
    if the limit is only the share of an objective, `one_of_several`."""
    within = [row for row in rows if cost_of(row.design.cost) <= limit]
    if within:
        return within[-1]
    least = min(cost_of(row.design.cost) for row in rows)
    share = f", the share of {one_of_several}" if one_of_several else ""
    alone = f"design {one_of_several} alone (--objective), " if one_of_several else ""
    raise SweepError(
        f"no design costs {_amount(limit, unit)} {unit} or less{share}; the cheapest costs "
        f"{_amount(least, unit)}: give more, {alone}or take smaller sweep.budgets_flops"
    )


def _amount(value: float, unit: str) -> str:
    return f"{value:.3g}" if unit == FLOPS or value < 10 else f"{value:,.0f}"


def shown(rows: list[Row], chosen: Row) -> list[Row]:
    """Some `ROWS` of a front, evenly, with the chosen one."""
    step = max(1, -(-len(rows) // ROWS))
    picked = [*rows[::step], *rows[-1:], chosen]
    return [row for row in rows if any(row is one for one in picked)]
