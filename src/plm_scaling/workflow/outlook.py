"""What a study still takes: cells, hours and disk, before it runs."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from plm_scaling.common.gpus import visible_gpus
from plm_scaling.common.progress import short_bytes, short_number, short_time
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import Config
from plm_scaling.init.sizing import START_SECONDS
from plm_scaling.preflight.cost import Cost, cost
from plm_scaling.sources.addresses import COMPRESSIONS
from plm_scaling.sources.local_files import files_of
from plm_scaling.sources.table import own_source
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.choose import choose_layouts
from plm_scaling.sweep.later import later_stages
from plm_scaling.sweep.memory import STATE_BYTES
from plm_scaling.sweep.order import jobs_in_order
from plm_scaling.sweep.schedule import simulate
from plm_scaling.sweep.stages import read_stages
from plm_scaling.workflow.given import Place

RESIDUES_PER_BYTE = {False: 0.74, True: 1.3}  # of FASTA, plain and packed: the demo's sources
RESIDUES_PER_SEQUENCE = 333


def outlook(config: Config, folder: Path, place: Place) -> Iterator[str]:
    """Lines on what the study in `folder` still takes where its jobs go: data of its own files,
    cells, disk.

    Raises `SweepError` where a cell cannot be trained on the machine of the config, and
    `SourceError` for a missing file.
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
    residues = _residues(config, folder)
    made = (folder / "data" / config.data.name / "tokens/manifest.json").is_file()
    fetched = [] if made else [name for name in config.sources if name not in config.data.own]
    if residues:
        yield _data(_cost(residues, config, place), residues, place)
    if fetched:
        also = " also" if residues else ""
        names = ", ".join(fetched)
        yield f"data:{also} {names}, to be downloaded; docs/scale.md says what that takes"
    if left:
        used = {name: layouts[name] for name in left}
        yield _training(left, used, len(cells), machine, place)
    yield from later
    # A finished cell keeps one checkpoint; one that trains has two, for as long as it takes.
    needed = {
        "checkpoints": STATE_BYTES * sum(cell.n_params_total for cell in left.values()),
        "data": _cost(residues, config, place).disk_bytes if residues and not fetched else 0.0,
    }
    if parts := [f"{short_bytes(size)} for {what}" for what, size in needed.items() if size]:
        free = short_bytes(shutil.disk_usage(folder).free)
        yield f"disk: about {' and '.join(parts)}; {free} are free"


def _residues(config: Config, folder: Path) -> float:
    """Residues of the study's own files, by their sizes; 0 if there are none, or tokens already."""
    if (folder / "data" / config.data.name / "tokens/manifest.json").is_file():
        return 0.0
    with contextlib.chdir(folder):  # their paths are relative to it
        files = [
            file
            for name, columns in config.data.own.items()
            if name in config.sources
            for file in files_of(own_source(name, columns))
        ]
        return sum(
            file.stat().st_size * RESIDUES_PER_BYTE[file.suffix in COMPRESSIONS] for file in files
        )


def _cost(residues: float, config: Config, place: Place) -> Cost:
    sequences = residues / RESIDUES_PER_SEQUENCE
    return cost(round(sequences), round(residues), config.split.valid_fraction, place.cores)


def _data(needed: Cost, residues: float, place: Place) -> str:
    said = f"data: about {short_number(residues)} residues by the size of the files"
    if not place.here:  # nothing says on how many cores a scheduler runs what at once
        return said
    return f"{said}, {short_time(needed.wall_seconds)} on {_cores(needed.cores)}" + (
        " (extrapolated)" if needed.extrapolated else ""
    )


def _training(
    cells: dict[str, Cell],
    layouts: dict[str, Layout],
    planned: int,
    machine: Machine,
    place: Place,
) -> str:
    jobs = jobs_in_order(cells, layouts.values(), machine)
    process_hours = sum(job.gpus * job.hours for job in jobs.values())
    widest = max(job.gpus for job in jobs.values())
    if machine.backend == "cpu":
        cost = f"{short_number(process_hours * machine.threads)} core-hours"
        count = place.cores // machine.threads
        if not place.here:
            count = min(place.jobs or len(jobs), len(jobs)) * widest
        count = max(count, widest)
        node, where = count, _cores(count * machine.threads)
        where += "" if place.here else ", if the scheduler gives them"
    else:
        cost = f"{short_number(process_hours)} {machine.gpu}-hours"
        node = machine.gpus_per_node
        # Those of this machine; elsewhere those that a cell may take.
        gpus = len(visible_gpus()) if place.here else 0
        count = max((place.gpus if place.here else 0) or gpus or machine.max_gpus, widest)
        count = -(-count // node) * node if count > node else count
        node, where = min(node, count), f"{count} {machine.gpu}"
    start = START_SECONDS[machine.backend] / 3600
    timed = {name: replace(job, hours=start + job.hours) for name, job in jobs.items()}
    hours = max(end for _, end in simulate(timed, count, node).values())
    return (
        f"training: {len(cells)} of {planned} cells left, {cost}, about {_long(hours)} on {where}"
    )


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _long(hours: float) -> str:
    return f"{hours / 24:.3g} days" if hours >= 48 else short_time(3600 * hours)
