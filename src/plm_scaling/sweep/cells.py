"""The cells of a sweep: a pure function of the config, cheap enough for parsing the Snakefile."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, product

from plm_scaling.common.errors import SweepError
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.make import make_cell, shape_of
from plm_scaling.sweep.settings import Setting, settings
from plm_scaling.sweep.single import extra_cells, transferred_cells
from plm_scaling.sweep.stages import NO_STAGES, UNTUNED, Curve, Stages, Tuned, curves_of, in_sweep

Trained = tuple[Curve, Iterable[str], list[int], Tuned]
"""A curve with its sizes, its seeds and the laws of its rate and batch."""


def plan_cells(config: SweepInputs, stages: Stages = NO_STAGES) -> dict[str, Cell]:
    """All cells of the config by id, as far as its `stages` have been placed: the grid (cheapest
    budgets first, then objective, corpus and size), single cells, transferred ones, each after the
    cell that it starts from, and those that show the best learning rate.

    Raises `SweepError` when a size is unknown, when a budget is too small for a batch to come
    within 1 % of it, or when no cell is left.
    """
    cells = {cell.cell: cell for cell in chain(_swept(config, stages), _tuning(config))}
    if not cells:
        raise SweepError(
            "the sweep has no cell: no size has sweep.tokens_per_parameter in "
            f"{config.sweep.tokens_per_parameter} at any budget; widen the range or add sizes"
        )
    return cells


def tuning_only(config: SweepInputs, stages: Stages = NO_STAGES) -> set[str]:
    """Ids of the cells that only `sweep.tuning` has: no law of the sweep takes them."""
    if config.sweep.tuning is None:
        return set()
    swept = {cell.cell for cell in _swept(config, stages)}
    return set(tuning_cells(config)) - swept


def _swept(config: SweepInputs, stages: Stages) -> Iterator[Cell]:
    return chain(
        grid_cells(config, stages).values(),
        extra_cells(config, stages),
        transferred_cells(config, stages),
    )


def grid_cells(config: SweepInputs, stages: Stages = NO_STAGES) -> dict[str, Cell]:
    """The cells of the first stage, which is the whole grid where the config has no other, and of
    those placed."""
    return {
        cell.cell: cell
        for curve, sizes, seeds, tuned in chain(_first_stage(config), _placed(config, stages))
        for cell in curve_cells(tuned.taken(config, curve[1]), *curve, sizes, seeds)
    }


def awaited_cells(config: SweepInputs, earlier: Stages) -> dict[str, Cell]:
    """What the stage after `earlier` ones waits for: their cells, and those that tune."""
    return grid_cells(config, earlier) | tuning_cells(config)


def tuning_cells(config: SweepInputs) -> dict[str, Cell]:
    """The cells of `sweep.tuning`, some of which the grid may have, too."""
    return {cell.cell: cell for cell in _tuning(config)}


def sizes_in_range(config: SweepInputs, budget: float, recipe: Recipe) -> dict[str, int]:
    """Parameters by name of the sizes that `tokens_per_parameter` leaves at `budget` FLOPs."""
    low, high = config.sweep.tokens_per_parameter
    known = {size: shape_of(config, size).n_params(recipe) for size in config.sweep.sizes}
    return {size: n for size, n in known.items() if low <= budget / (6 * n * n) <= high}


def curve_cells(
    config: SweepInputs,
    budget: float,
    objective: Objective,
    corpus: str,
    recipe: Recipe,
    sizes: Iterable[str],
    seeds: list[int],
) -> Iterator[Cell]:
    """Those of some sizes and seeds of a curve, at each value of `sweep.axes`. Raises `SweepError`
    where one cannot be made."""
    for size in sizes:
        where = (objective, corpus, recipe, size, shape_of(config, size))
        for at in settings(config):
            cell = make_cell(config, *where, budget, seeds[0], at=at)
            yield from (replace(cell, seed=seed) for seed in seeds)


def _first_stage(config: SweepInputs) -> Iterator[Trained]:
    """Curves with their sizes and seeds."""
    sweep = config.sweep
    designed = {(one.objective, one.flops): one for one in sweep.designed}
    for budget, objective, corpus, recipe in curves_of(sweep, 1):
        curve = (budget, objective, corpus, recipe)
        if one := designed.get((objective, budget)):
            yield curve, one.sizes, one.seeds, UNTUNED
        else:
            yield curve, sizes_in_range(config, budget, recipe), sweep.seeds, UNTUNED


def _placed(config: SweepInputs, stages: Stages) -> Iterator[Trained]:
    """The same of what was placed."""
    for stage in in_sweep(config.sweep, stages).values():
        for one in stage.budgets:
            yield one.curve, one.sizes, one.seeds, one.tuned


def _tuning(config: SweepInputs) -> Iterator[Cell]:
    sweep, tuning = config.sweep, config.sweep.tuning
    if tuning is None:
        return
    for budget, objective, size, batch, rate in product(
        tuning.budgets_flops,
        sweep.objectives,
        tuning.sizes,
        tuning.batch_factors,
        tuning.learning_rate_factors,
    ):
        where = (objective, sweep.corpora[0], sweep.recipes[0], size, shape_of(config, size))
        yield make_cell(config, *where, budget, sweep.seeds[0], at=Setting(rate, batch))
