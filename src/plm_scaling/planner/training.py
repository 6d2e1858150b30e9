"""How a run is trained: time on the GPUs, and the nearest shapes with all that a cell needs.

Batch, learning rate and assumed utilisation by size are those of the full study's config.
"""

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import yaml

from plm_scaling.common.errors import LawError, SweepError
from plm_scaling.common.progress import short_number
from plm_scaling.config.load import FULL_STUDY
from plm_scaling.config.machine import Machine
from plm_scaling.config.schema import SweepInputs
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.planner.question import Given
from plm_scaling.planner.solve import Run
from plm_scaling.study.flops import exact_training_flops
from plm_scaling.study.hardware import GPUS, gpu_hours
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.make import make_cell
from plm_scaling.sweep.memory import process_memory
from plm_scaling.sweep.settings import by_size

RECIPE: Recipe = "study"
NODE = 8  # GPUs


@dataclass(frozen=True)
class Time:
    """What the GPUs take."""

    gpus: int
    gpu: str
    utilisation: float
    """Share of the peak; attention and the output layer count."""
    utilisation_assumed: bool
    gpu_hours: float
    days: float


@dataclass(frozen=True)
class ShapeRow:
    """A shape near the answer, for the same compute (or the same tokens, where those are fixed)."""

    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    n_params: int
    tokens: int
    loss_nats_per_token: float | None
    """None where the law holds only optima."""
    steps: int
    batch_tokens: int
    peak_learning_rate: float
    gpus: int
    tensor: int
    pipeline: int
    data: int
    micro_batch_rows: int
    recompute: bool
    memory_bytes_per_gpu: float
    days: float
    """With evaluations and communication."""


@cache
def full_study() -> tuple[SweepInputs, Machine]:
    """The blocks of the full study's config from which cells and their cost follow."""
    values = yaml.load(FULL_STUDY.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    inputs = {name: values[name] for name in SweepInputs.model_fields}
    return SweepInputs.model_validate(inputs), Machine.model_validate(values["machine"])


def training_time(asked: Given, objective: str, run: Run) -> Time:
    """Of 6·N·D, with attention and the output layer of the nearest shape."""
    utilisation = asked.utilisation or by_size(full_study()[1].utilisation, round(run.n_params))
    exact = run.flops * exact_share(nearest_shapes(run.n_params)[0][1], objective)
    hours = gpu_hours(exact, asked.gpu, utilisation)
    assumed = asked.utilisation is None
    return Time(asked.gpus, asked.gpu, utilisation, assumed, hours, hours / asked.gpus / 24)


def affordable(asked: Given, objective: str, run_of: Callable[[float], Run]) -> float:
    """The compute (6·N·D) whose run takes the days asked for, where `run_of` gives its run."""
    assert asked.days is not None
    low, high = 1.0, asked.days * 86400 * asked.gpus * GPUS[asked.gpu].peak_flops_per_second
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        try:
            fits = training_time(asked, objective, run_of(middle)).days <= asked.days
        except LawError:  # too little to serve what is asked
            fits = True
        low, high = (middle, high) if fits else (low, middle)
    return low


def nearest_shapes(n_params: float) -> list[tuple[str, Shape]]:
    """The shapes of the ladder around a size, the nearest in the logarithm first."""
    ladder = sorted(STUDY_GRID.items(), key=lambda item: item[1].n_params(RECIPE))
    above = bisect([shape.n_params(RECIPE) for _, shape in ladder], n_params)
    around = ladder[max(above - 1, 0) : above + 1]
    return sorted(around, key=lambda item: abs(np.log(item[1].n_params(RECIPE) / n_params)))


def shape_rows(
    asked: Given, objective: Objective, run: Run, loss_of: Callable[[Run], float | None]
) -> tuple[list[ShapeRow], list[str]]:
    """(rows of the shapes around the run's size, what is wrong with those that have none)."""
    inputs, machine = full_study()
    machine = machine.model_copy(
        update={
            "gpu": asked.gpu,
            "gpus_per_node": min(asked.gpus, NODE),
            "max_gpus": asked.gpus,
            "target_hours": 0.0,  # the fastest layout
            "layouts": {},
        }
    )
    if asked.utilisation is not None:
        first = machine.utilisation[0]
        own = [first.model_copy(update={"value": asked.utilisation})]
        machine = machine.model_copy(update={"utilisation": own})
    rows, missing = [], []
    for name, shape in nearest_shapes(run.n_params):
        n = shape.n_params(RECIPE)
        flops = run.flops if asked.tokens is None else 6 * n * run.tokens
        corpus, seed = inputs.sweep.corpora[0], inputs.sweep.seeds[0]
        try:
            cell = make_cell(inputs, objective, corpus, RECIPE, name, shape, flops, seed)
            layout = choose_layout(cell, machine)
        except SweepError as error:
            missing.append(str(error))
            continue
        row = ShapeRow(
            name=name,
            **vars(shape),
            n_params=n,
            tokens=cell.tokens,
            loss_nats_per_token=loss_of(Run(n, cell.tokens)),
            steps=cell.steps,
            batch_tokens=cell.batch_rows * cell.context_length,
            peak_learning_rate=cell.peak_learning_rate,
            gpus=layout.processes,
            tensor=layout.tensor,
            pipeline=layout.pipeline,
            data=layout.data,
            micro_batch_rows=layout.micro_batch_rows,
            recompute=layout.recompute == "full",
            memory_bytes_per_gpu=process_memory(cell, layout).total,
            days=estimated_hours(cell, layout, machine) / 24,
        )
        rows.append(row)
    size = nearest_shapes(run.n_params)[0][1].n_params(RECIPE)
    if not 0.8 < size / run.n_params < 1.25:
        missing.append(
            f"no shape of the ladder is near; the nearest has {short_number(size)} parameters"
        )
    return rows, missing


def exact_share(shape: Shape, objective: str) -> float:
    """Exact FLOPs in units of 6·N·D."""
    context = full_study()[0].tokens.context_length
    exact = exact_training_flops(shape, 1, context, objective)
    return exact / (6 * shape.n_params(RECIPE))
