"""Designs for a request: the curve of cost against precision, the chosen one, and what to know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from plm_scaling.common.errors import LawError, SweepError
from plm_scaling.common.progress import short_number
from plm_scaling.config.load import FULL_STUDY, read_config
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import Config
from plm_scaling.config.sweep import Designed, Objective
from plm_scaling.config.training import PowerLaw
from plm_scaling.design.choose import DRAWS, FLOPS, Row, cheapest, front, narrowest
from plm_scaling.design.family import Cost, Ladder
from plm_scaling.design.place import sizes_around
from plm_scaling.design.prior import Prior, find_prior
from plm_scaling.design.request import NO_LAW, Asked, Limits, Request, limits_of
from plm_scaling.design.simulate import Expected, expect, points_of
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.planner.training import NODE
from plm_scaling.planner.trust import NEAR
from plm_scaling.sweep.cells import plan_cells

FIRST_BUDGETS, FIRST_SIZES = 3, 8  # of a stage without a law
RATES_KNOWN = 2.0  # how far beyond the sizes of a table of learning rates its ends may hold


@dataclass(frozen=True)
class Proposal:
    """For one objective. Without a law only `entries`, `cost` and `notes`."""

    objective: Objective
    entries: tuple[Designed, ...]
    cost: Cost
    """Of these cells, on all corpora and in all recipes."""
    notes: list[str]
    prior: Prior | None = None
    asked: Asked | None = None
    own: tuple[Cost, Expected] | None = None
    """The config's own sweep, of `own_cells`; None where it finds no law."""
    own_cells: int = 0
    rows: tuple[Row, ...] = ()
    """By rising cost and precision."""
    chosen: Row | None = None


def propose(request: Request) -> tuple[Config, Machine, list[Proposal]]:
    """The config of the request, the machine that trains, and a proposal for each objective.

    Raises `SweepError` or LawError for what cannot be read, where no design meets the limits, and
    where the law says nothing of the config's budgets.
    """
    limits = limits_of(request)
    config = read_config(request.config or FULL_STUDY)
    machine = machine_of(config.machine, limits)
    ladder = Ladder(config, machine)
    if request.objective not in (None, *config.sweep.objectives):
        raise SweepError(
            f"--objective {request.objective}: not in sweep.objectives of the config; add it there"
        )
    objectives = config.sweep.objectives if request.objective is None else [request.objective]
    if request.laws is not None and str(request.laws) == NO_LAW:
        return config, machine, [_first_stage(ladder, objective) for objective in objectives]
    one = partial(_propose, ladder, limits, share=1 / len(objectives))
    proposals = [one(objective, prior_for(request, objective)) for objective in objectives]
    return config, machine, proposals


def machine_of(machine: Machine, limits: Limits) -> Machine:
    """The config's machine, with the GPUs of the request."""
    if limits.gpus is None:
        return machine
    count, gpu = limits.gpus
    own = {"backend": "cuda", "gpu": gpu, "gpus_per_node": min(count, NODE), "max_gpus": count}
    return machine.model_copy(update=own)


def prior_for(request: Request, objective: Objective) -> Prior:
    """Of the law of the request, or of one fitted to its runs."""
    if request.runs is None:
        return find_prior(request.laws or PUBLISHED_LAWS, objective)
    from plm_scaling.laws.fit import fit_law

    with TemporaryDirectory() as folder:
        path = Path(folder, request.runs.name).with_suffix(".json")
        fit_law("isoflop", request.runs, path, objective)
        try:
            return find_prior(path, objective)
        except LawError as error:  # which names a file that nobody sees
            raise LawError(str(error).replace(str(path), str(request.runs))) from None


def _check_reach(prior: Prior, flops: float) -> None:
    try:
        prior.check_reach(flops)
    except LawError as error:
        raise LawError(
            f"{error}; give a law of runs nearer to it (--laws, --runs), or --laws none for a "
            "first stage without one"
        ) from None


def _propose(
    ladder: Ladder, limits: Limits, objective: Objective, prior: Prior, share: float
) -> Proposal:
    for budget in (*ladder.config.sweep.budgets_flops, limits.asked.flops):
        if budget is not None:
            _check_reach(prior, budget)
    cost_of = attrgetter("hours" if limits.flops is None else "flops")
    rows = front(ladder.family(prior, objective), limits.asked, prior, cost_of)
    own, own_cells = _own(ladder, limits.asked, objective, prior)
    one_of_several = objective if share < 1 else ""
    if limits.flops is not None:
        chosen = narrowest(rows, limits.flops * share, cost_of, FLOPS, one_of_several)
    elif limits.days is not None and limits.gpus is not None:
        count, gpu = limits.gpus
        hours = count * limits.days * 24 * share
        chosen = narrowest(rows, hours, cost_of, f"{gpu}-hours", one_of_several)
    else:
        wanted = limits.half_width or (own[1].half_width if own else np.inf)
        chosen = cheapest(rows, wanted)
    return Proposal(
        objective,
        chosen.design.entries,
        chosen.design.cost,
        [
            *extrapolated(limits.asked, chosen.design.budgets),
            *_notes(ladder, objective, chosen.design.entries),
        ],
        prior,
        limits.asked,
        own,
        own_cells,
        tuple(rows),
        chosen,
    )


def extrapolated(asked: Asked, budgets: Sequence[float]) -> Iterator[str]:
    """That a design answers for a compute beyond its `budgets` (FLOPs), if it does."""
    if asked.flops is None:
        return
    factor, side = max(
        (asked.flops / max(budgets), "above the largest"),
        (min(budgets) / asked.flops, "below the smallest"),
    )
    if factor > NEAR:
        yield (
            f"{asked.flops:.3g} FLOPs lie {factor:.3g} times {side} budget of this design: the "
            "interval holds where the law does not bend on the way"
        )


def _own(
    ladder: Ladder, asked: Asked, objective: Objective, prior: Prior
) -> tuple[tuple[Cost, Expected] | None, int]:
    """Cost of the config's grid for an objective and what it is expected to say; its cells."""
    config = ladder.config
    none: dict[str, Any] = {"extra": [], "transfer": [], "stages": [], "tuning": None}
    only = config.sweep.model_copy(update={"objectives": [objective], **none})
    cells = list(plan_cells(config.model_copy(update={"sweep": only})).values())
    first = (config.sweep.corpora[0], config.sweep.recipes[0])
    alike = [cell for cell in cells if (cell.corpus, cell.recipe) == first]
    costs = np.array([ladder.cost_of(cell) for cell in cells]).sum(axis=0)
    expected = expect(asked, points_of(alike), prior, DRAWS)
    return (Cost(*costs), expected) if expected.answered > 0.5 else None, len(alike)


def _first_stage(ladder: Ladder, objective: Objective) -> Proposal:
    """The cheapest budgets, with sizes over all of the config's tokens per parameter."""
    sweep = ladder.config.sweep
    entries: list[Designed] = []
    cost = np.zeros(2)
    half = float(np.log(sweep.tokens_per_parameter[1] / sweep.tokens_per_parameter[0])) / 4
    per_size = float(np.sqrt(np.prod(sweep.tokens_per_parameter)))
    for budget in sorted(sweep.budgets_flops):
        sizes: list[str] = []
        if len(entries) < FIRST_BUDGETS:
            middle = float(np.log(budget / 6 / per_size)) / 2
            known = ladder.sizes(objective, budget)
            sizes = sizes_around(middle, 0.0, known, FIRST_SIZES, half)
        entries.append(
            Designed(objective=objective, flops=budget, sizes=sizes, seeds=sweep.seeds[:1])
        )
        cells = [ladder.cell(objective, size, budget) for size in sizes]
        cost += np.sum([one[1] for one in cells if one] or [Cost(0, 0)], axis=0) * ladder.copies
    notes = [
        "without a law nothing says where the minima are or how runs scatter: this is a first, "
        "cheap stage. Train it, then design the rest with --runs results/STUDY/runs.csv",
        *_notes(ladder, objective, tuple(entries)),
    ]
    return Proposal(objective, tuple(entries), Cost(*cost), notes)


def _notes(ladder: Ladder, objective: Objective, entries: tuple[Designed, ...]) -> list[str]:
    """What the design needs besides its cells."""
    config, notes = ladder.config, []
    rates = config.training.peak_learning_rate[objective]
    table = [] if isinstance(rates, PowerLaw) else rates  # which holds for all sizes
    known = [entry.from_parameters for entry in table if entry.from_parameters > 0]
    low, high = (min(known) / RATES_KNOWN, max(known) * RATES_KNOWN) if known else (np.inf, 0.0)
    counts = {s: ladder.sizes(objective, e.flops)[s] for e in entries for s in e.sizes}
    outside = sorted((n, size) for size, n in counts.items() if not low <= n <= high)
    if outside and table:
        named = ", ".join(size for _, size in outside)
        where = f"{short_number(low)} to {short_number(high)} parameters" if known else "one size"
        notes.append(
            f"training.peak_learning_rate.{objective} is a table for {where}; for {named} its ends "
            "are taken: check these rates first (docs/training.md)"
        )
    pairs = [pair for pair in config.sweep.transfer if pair.objective == objective]
    if pairs:
        notes.append(f"the {len(pairs)} cells of sweep.transfer and their sources come on top")
    return notes


def facts(proposal: Proposal) -> dict[str, Any]:
    """As JSON, with units in the keys."""
    known: dict[str, Any] = {
        "objective": proposal.objective,
        "designed": [entry.model_dump() for entry in proposal.entries],
        "flops": proposal.cost.flops,
        "process_hours": proposal.cost.hours,
        "notes": proposal.notes,
    }
    if proposal.prior and proposal.asked and proposal.chosen:
        known["prior"] = proposal.prior.name
        known["question"] = proposal.asked._asdict()
        known["half_width_95"] = proposal.chosen.expected.half_width
        known["own_sweep"] = proposal.own and _row(proposal.own[0], proposal.own[1])
        known["curve"] = [
            {
                "budgets_flops": row.design.budgets,
                "sizes_cheapest_largest": row.design.counts,
                "reach_log_n": row.design.reach,
                "seeds_cheap": row.design.seeds,
                **_row(row.design.cost, row.expected),
            }
            for row in proposal.rows
        ]
    return known


def _row(cost: Cost, expected: Expected) -> dict[str, float]:
    return {
        "flops": cost.flops,
        "process_hours": cost.hours,
        "half_width_95": expected.half_width,
        "coverage": expected.coverage,
    }
