"""The order in which cells start, and the estimates by which `status` looks ahead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from plm_scaling.common.errors import SweepError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.config.machine import Machine
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.schedule import Job

NONE_LATER: Mapping[int, float] = MappingProxyType({})
CURVE_SIZES = 3  # that the minimum of an IsoFLOP curve needs at least


def jobs_in_order(
    cells: Mapping[str, Cell], layouts: Iterable[Layout], machine: Machine
) -> dict[str, Job]:
    """The cells by id as jobs, in the order in which `machine.order` starts them.

    makespan: by the hours of a cell and of the longest chain of those that wait for it, longest
    first. first-law: by budget, the cheapest first, and within one as makespan does.
    """
    jobs = {
        name: Job(layout.processes, estimated_hours(cell, layout, machine), cell.init_from)
        for (name, cell), layout in zip(cells.items(), layouts, strict=True)
    }
    waiting: dict[str, list[str]] = {}
    for name, job in jobs.items():
        waiting.setdefault(job.after or "", []).append(name)

    @cache
    def chain_hours(name: str) -> float:
        return jobs[name].hours + max(map(chain_hours, waiting.get(name, ())), default=0.0)

    def place(name: str) -> tuple[float, float]:
        budget = cells[name].flops_budget if machine.order == "first-law" else 0.0
        return budget, -chain_hours(name)

    return {name: jobs[name] for name in sorted(jobs, key=place)}


def curves(cells: Mapping[str, Cell]) -> dict[float, list[str]]:
    """Ids of the cells from scratch by budget (FLOPs), cheapest first, where they have sizes enough
    for an IsoFLOP curve."""
    scratch = {name: cell for name, cell in cells.items() if cell.init_from is None}
    budgets: dict[float, list[str]] = {}
    for name in sorted(scratch, key=lambda name: scratch[name].flops_budget):
        budgets.setdefault(scratch[name].flops_budget, []).append(name)
    return {
        budget: names
        for budget, names in budgets.items()
        if len({scratch[name].size for name in names}) >= CURVE_SIZES
    }


@dataclass(frozen=True)
class Estimates:
    """`jobs` in the order in which they start, and of what machine."""

    jobs: dict[str, Job]
    gpu: str | None
    """None for the CPU backend, on whose processes there are no nodes."""
    gpus_per_node: int
    later: dict[str, float] = field(default_factory=dict)
    """Stages that are still to be placed, by number, and their first budget (FLOPs)."""


def write_estimates(
    jobs: Mapping[str, Job], machine: Machine, out: Path, later: Mapping[int, float] = NONE_LATER
) -> None:
    """Keep for `status` what a run of the workflow was started with (estimates.json)."""
    gpu = machine.gpu if machine.backend == "cuda" else None
    estimates = {"gpu": gpu, "gpus_per_node": machine.gpus_per_node, "later": dict(later)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, estimates | {"jobs": {name: vars(job) for name, job in jobs.items()}})


def read_estimates(path: Path) -> Estimates:
    """Inverse of `write_estimates`. Raises `SweepError`, also where there is no such file."""
    try:
        found = read_json(path)
        jobs = {name: Job(**job) for name, job in found.pop("jobs").items()}
        return Estimates(jobs, **found)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SweepError(
            f"{path}: no estimates of cells ({error}); the next start of Snakemake writes them"
        ) from error
