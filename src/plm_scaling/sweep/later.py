"""What the stages that are still to be placed may cost."""

from collections.abc import Iterator

from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import SweepInputs
from plm_scaling.sweep.cells import Stages, make_cell, shape_of, sizes_in_range
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.stages import FIRST_PLACED, budgets_of, curves_of, to_place


def later_stages(blocks: SweepInputs, placed: Stages, machine: Machine) -> Iterator[str]:
    """A line on each stage of which no cell is known yet: how many there will be, and their hours
    if those are the dearest sizes in range. Raises `SweepError` where one would fit nowhere."""
    sweep = blocks.sweep
    unit, per_process = (
        ("core-hours", machine.threads) if machine.backend == "cpu" else (f"{machine.gpu}-hours", 1)
    )
    for number in to_place(sweep, placed):
        stage = sweep.stages[number - FIRST_PLACED]
        cells, flops, hours = 0, 0.0, 0.0
        for budget, objective, corpus, recipe in curves_of(sweep, number):
            dearest = []
            for size in sizes_in_range(blocks, budget, recipe):
                where = (objective, corpus, recipe, size, shape_of(blocks, size))
                cell = make_cell(blocks, *where, budget, sweep.seeds[0])
                layout = choose_layout(cell, machine)
                dearest.append(estimated_hours(cell, layout, machine) * layout.processes)
            dearest = sorted(dearest)[-stage.sizes :]
            cells += len(dearest) * len(sweep.seeds)
            flops += budget * len(dearest) * len(sweep.seeds)
            hours += sum(dearest) * len(sweep.seeds) * per_process
        budgets = ", ".join(f"{budget:g}" for budget in budgets_of(sweep, number))
        more = ""
        if stage.max_seeds > len(sweep.seeds):
            more = f"; up to {stage.max_seeds} seeds of a size where noise decides, also below"
        yield (
            f"stage {number} ({budgets} FLOPs) is placed when the cells before have ended: "
            f"{cells} cells, C = {flops:.3g} FLOPs, at most {hours:.3g} {unit}{more}"
        )
