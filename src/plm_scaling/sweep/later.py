"""What the stages that are still to be placed may cost."""

from collections.abc import Iterator

from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Sweep
from plm_scaling.study.cell import Cell
from plm_scaling.study.laws import MIN_BATCHES
from plm_scaling.sweep.cells import curve_cells, sizes_in_range, tuning_cells
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.single import waiting_cells
from plm_scaling.sweep.stages import (
    FIRST_PLACED,
    Stages,
    budgets_of,
    curves_of,
    in_sweep,
    placed_untuned,
    to_place,
)


def later_stages(blocks: SweepInputs, placed: Stages, machine: Machine) -> Iterator[str]:
    """A line on each stage of which no cell is known yet: how many there will be, and their hours
    if those are the sizes in range that take longest; one on single and transferred cells that wait
    for it; and one on what waits for `sweep.tuning`.
    Raises `SweepError` where one fits nowhere.
    """
    sweep = blocks.sweep
    unit, per_process = (
        ("core-hours", machine.threads) if machine.backend == "cpu" else (f"{machine.gpu}-hours", 1)
    )
    waiting = waiting_cells(blocks, placed)
    for number in to_place(sweep, placed):
        stage = sweep.stages[number - FIRST_PLACED]
        cells, flops, hours = 0, 0.0, 0.0
        for budget, objective, corpus, recipe in curves_of(sweep, number):
            curve = (budget, objective, corpus, recipe)
            sizes = sizes_in_range(blocks, budget, recipe)
            made = ([*curve_cells(blocks, *curve, [size], sweep.seeds[:1])] for size in sizes)
            # Some settings of the axes may be the same cell.
            known = [{cell.cell: cell for cell in own}.values() for own in made]
            hours_of = [sum(_process_hours(cell, machine) for cell in own) for own in known]
            largest = sorted(zip(hours_of, map(len, known), strict=True))[-stage.sizes :]
            count = sum(number for _, number in largest) * len(sweep.seeds)
            cells += count
            flops += budget * count
            hours += sum(hours for hours, _ in largest) * len(sweep.seeds) * per_process
        budgets = ", ".join(f"{budget:g}" for budget in budgets_of(sweep, number))
        more = ""
        if stage.max_seeds > len(sweep.seeds):
            more = f"; up to {stage.max_seeds} seeds of a size where noise decides, also below"
        yield (
            f"stage {number} ({budgets} FLOPs) is placed when the cells before have ended: "
            f"{cells} cells, C = {flops:.3g} FLOPs, at most {hours:.3g} {unit}{more}"
        )
        if single := waiting.get(number):
            flops = sum(cell.flops for cell in single)
            hours = sum(_process_hours(cell, machine) for cell in single) * per_process
            yield (
                f"with stage {number} come {len(single)} cells of sweep.extra and sweep.transfer, "
                f"C = {flops:.3g} FLOPs, {hours:.3g} {unit}: they take its learning rates"
                f"{' and batches' * _batches_tried(sweep)}"
            )
    if sweep.tuning:
        yield from _rates(blocks, placed)


def _rates(blocks: SweepInputs, placed: Stages) -> Iterator[str]:
    """Which learning rates stages have taken, and which cells wait for their law."""
    kept = in_sweep(blocks.sweep, placed)
    for number in kept:
        yield from (f"stage {number}: {line}" for line in kept[number].rates)
    if left := to_place(blocks.sweep, placed):
        stages = f"stage{'s' * (len(left) > 1)} {', '.join(map(str, left))}"
        yield (
            f"learning rates: the cells of {stages} wait for the {len(tuning_cells(blocks))} of "
            f"sweep.tuning; {_taken(blocks, placed)}"
        )
    elif not kept:
        yield (
            "learning rates: no cell waits for sweep.tuning, whose law is only reported; stages "
            "(sweep.stages) would take its rates"
        )


def _taken(blocks: SweepInputs, placed: Stages) -> str:
    """Which rates they will have."""
    configured = "those of training.peak_learning_rate"
    if blocks.training.mup:
        return f"their peak rates stay {configured}, as training.mup takes one for all sizes"
    if placed_untuned(blocks.sweep, placed):
        return f"their peak rates stay {configured}, as the stages before were placed without it"
    several = _batches_tried(blocks.sweep)
    also = " and, where several batches say which is best, the batches" * several
    taken = f"take the peak rates{also} of its law, or where it is not identified {configured}"
    tuned, *others = blocks.sweep.recipes
    return f"those of recipe {tuned} {taken}, as all others do" if others else f"they {taken}"


def _batches_tried(sweep: Sweep) -> bool:
    """Whether tuning tries enough batches for a law of the best."""
    return sweep.tuning is not None and len(set(sweep.tuning.batch_factors)) >= MIN_BATCHES


def _process_hours(cell: Cell, machine: Machine) -> float:
    layout = choose_layout(cell, machine)
    return estimated_hours(cell, layout, machine) * layout.processes
