"""What a study still takes: cells, hours and disk, before it runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from plm_scaling.common.gpus import visible_gpus
from plm_scaling.common.progress import short_bytes, short_number, short_time
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import Config
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.later import later_stages
from plm_scaling.sweep.memory import checkpoint_bytes
from plm_scaling.sweep.order import jobs_in_order
from plm_scaling.sweep.schedule import simulate
from plm_scaling.sweep.stages import read_stages


def outlook(config: Config, folder: Path) -> Iterator[str]:
    """Lines on what training the study in `folder` still takes, none if nothing.

    Raises `SweepError` where a cell cannot be trained on the machine of the config.
    """
    results, machine = folder / "results" / config.study, config.machine
    placed = read_stages(results / "stages", config.sweep)
    cells = plan_cells(config, placed)
    layouts = dict(zip(cells, choose_layouts(cells.values(), machine), strict=True))
    left = {
        name: cell
        for name, cell in cells.items()
        if not (results / "runs" / name / "result.json").is_file()
    }
    later = [*later_stages(config, placed, machine)]
    if not left and not later:
        return
    if left:
        yield _training(left, {name: layouts[name] for name in left}, len(cells), machine)
    yield from later
    # A finished cell keeps one checkpoint; one that trains has two, for as long as it takes.
    needed = sum(
        checkpoint_bytes(cell, layouts[name]) * layouts[name].data for name, cell in left.items()
    )
    free = short_bytes(shutil.disk_usage(folder).free)
    yield f"disk: about {short_bytes(needed)} for checkpoints, and the data; {free} are free"


def _training(
    cells: dict[str, Cell], layouts: dict[str, Layout], planned: int, machine: Machine
) -> str:
    jobs = jobs_in_order(cells, layouts.values(), machine)
    process_hours = sum(job.gpus * job.hours for job in jobs.values())
    widest = max(job.gpus for job in jobs.values())
    if machine.backend == "cpu":
        cost = f"{short_number(process_hours * machine.threads)} core-hours"
        count = max(len(os.sched_getaffinity(0)) // machine.threads, widest)
        node, where = count, f"{count * machine.threads} cores"
    else:
        cost = f"{short_number(process_hours)} {machine.gpu}-hours"
        node = machine.gpus_per_node
        # Those of this machine; elsewhere those that a cell may take.
        count = max(len(visible_gpus()) or machine.max_gpus, widest)
        count = -(-count // node) * node if count > node else count
        node, where = min(node, count), f"{count} {machine.gpu}"
    hours = max(end for _, end in simulate(jobs, count, node).values())
    return (
        f"training: {len(cells)} of {planned} cells left, {cost}, about {_long(hours)} on {where}"
    )


def _long(hours: float) -> str:
    return f"{hours / 24:.3g} days" if hours >= 48 else short_time(3600 * hours)
