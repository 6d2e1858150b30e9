"""Cells outside the grid: those of `sweep.extra`, and those of `sweep.transfer` with their sources.

They are compared with cells of the grid, so they have the peak learning rates and batches of the
stage that a cell of their budget would be placed by, and wait for it. They keep those of a stage
that was placed, also if it is skipped later: what was recorded stays, so that no finished cell is
trained again.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Extra, Objective, Recipe, Transfer
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.make import make_cell, shape_of
from plm_scaling.sweep.stages import UNTUNED, Stages, Tuned, in_sweep, placed_untuned, stage_for

OTHER: dict[Objective, Objective] = {"clm": "mlm", "mlm": "clm"}


def extra_cells(config: SweepInputs, stages: Stages) -> Iterator[Cell]:
    """Those of sweep.extra that do not wait for a stage; the grid may have some of them, too."""
    for extra in config.sweep.extra:
        yield from _cells(config, stages, extra)


def transferred_cells(config: SweepInputs, stages: Stages) -> Iterator[Cell]:
    """The source of each transfer, which may be a cell of the grid, and its target, unless one of
    them waits for a stage."""
    for transfer in config.sweep.transfer:
        yield from _cells(config, stages, transfer)


def waiting_cells(
    config: SweepInputs, stages: Stages, laws: Mapping[Objective, Tuned] = MappingProxyType({})
) -> dict[int, list[Cell]]:
    """By the stage that they wait for, cells with these `laws`, or with what the config's training
    gives, in place of what that stage will say."""
    found: dict[int, dict[str, Cell]] = {}
    for one in [*config.sweep.extra, *config.sweep.transfer]:
        if number := waits_for(config, stages, one):
            tuned = [laws.get(objective, UNTUNED) for objective, _ in _places(one)]
            cells = {cell.cell: cell for cell in _made(config, one, tuned[0], tuned[-1])}
            found.setdefault(number, {}).update(cells)
    return {number: [*cells.values()] for number, cells in found.items()}


def waits_for(config: SweepInputs, stages: Stages, one: Extra | Transfer) -> int:
    """The last stage that gives it rates and is still to be placed; 0 if there is none."""
    sweep, waits = config.sweep, 0
    if sweep.tuning is None or config.training.mup or placed_untuned(sweep, stages):
        return 0
    if not all(stage.single for stage in in_sweep(sweep, stages).values()):
        return 0
    for objective, flops in _places(one):
        number = stage_for(sweep, stages, flops)
        tuned = objective in sweep.objectives and one.recipe == sweep.recipes[0]
        if tuned and number > 1 and number not in stages:
            waits = max(waits, number)
    return waits


def _places(one: Extra | Transfer) -> list[tuple[Objective, float]]:
    """Objectives and budgets of its cells, the source first."""
    own = (one.objective, one.flops)
    if isinstance(one, Transfer):
        return [(OTHER[one.objective], one.source_flops), own]
    return [own]


def _cells(config: SweepInputs, stages: Stages, one: Extra | Transfer) -> Iterator[Cell]:
    if not waits_for(config, stages, one):
        laws = [_tuned(config, stages, *place, one.recipe) for place in _places(one)]
        yield from _made(config, one, laws[0], laws[-1])


def _tuned(
    config: SweepInputs, stages: Stages, objective: Objective, flops: float, recipe: Recipe
) -> Tuned:
    """The laws of the stage of a budget."""
    number = stage_for(config.sweep, stages, flops)
    if number not in stages or not stages[number].single:
        return UNTUNED
    own = (b for b in stages[number].budgets if config.sweep.stage_of(b.flops) == number)
    laws = (b.tuned for b in own if (b.objective, b.recipe) == (objective, recipe))
    return next(laws, UNTUNED)


def _made(
    config: SweepInputs, one: Extra | Transfer, of_source: Tuned, own: Tuned
) -> Iterator[Cell]:
    """The cell with its `own` laws; of a transfer after the cell that it starts from."""
    where = (one.corpus, one.recipe, one.size, shape_of(config, one.size))
    seed, source = config.sweep.seeds[0], None
    if isinstance(one, Transfer):
        other = OTHER[one.objective]
        first = of_source.taken(config, other)
        source = make_cell(first, other, *where, one.source_flops, seed)
        yield source
    own_config = own.taken(config, one.objective)
    yield make_cell(own_config, one.objective, *where, one.flops, seed, source)
