"""The layout of a cell on a machine: the fewest processes, and the simplest division over them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import short_bytes
from plm_scaling.config.machine import Machine
from plm_scaling.study.cell import Cell
from plm_scaling.study.hardware import GPUS
from plm_scaling.study.layout import Layout, check_layout
from plm_scaling.study.shapes import VOCABULARY_SIZE
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.memory import process_memory

# Of a GPU's memory as sold; with the 6 % more that most have, a tenth is left for what the estimate
# does not know.
USABLE_SHARE = 0.95
# Tokens of a pass beyond which it gains nothing: on GPUs the matrices of the smallest models are
# large enough, and those of models from `LARGE_PARAMETERS` on sooner; more would only leave less
# room for what the estimate does not know. On CPUs activations fall out of the caches.
MAX_PASS_TOKENS = {"cuda": 1 << 17, "cuda, large": 1 << 15, "cpu": 1 << 14}
LARGE_PARAMETERS = 80e6
PASSES_PER_STAGE = 8  # of a pipeline, if the batch allows: the bubble is then at most an eighth
ALL_BUT_SEED = attrgetter(*(field.name for field in fields(Cell) if field.name != "seed"))
WHOLE: dict[str, Any] = {
    **dict.fromkeys(("tensor", "pipeline", "data", "micro_batch_rows"), 1),
    "recompute": "none",
}


def choose_layouts(cells: Iterable[Cell], machine: Machine) -> list[Layout]:
    """`choose_layout` of each cell, once for neighbours that differ only in their seed."""
    layouts: list[Layout] = []
    for _, alike in groupby(cells, key=ALL_BUT_SEED):
        first, *others = alike
        layouts += [choose_layout(first, machine)] * (1 + len(others))
    return layouts


def choose_layout(cell: Cell, machine: Machine) -> Layout:
    """How `cell` is trained on `machine`.

    On GPUs: the fewest with which the estimated time is at most `target_hours`, else those with
    which it is least. They all hold replicas (DP, with the optimizer's state divided among them)
    as long as one row at a time fits in memory, recomputing activations if need be; otherwise
    layers are divided within a node (TP), or the model into stages (PP), as little as possible.
    Then the largest micro-batch that fits, and recomputation only where one row does not fit
    without. On CPUs: `cpu_processes` replicas, as far as they divide the batch.
    What `machine.layouts` gives for the cell's size is kept; if it gives all, memory is not asked.
    Raises `SweepError` when nothing fits, or when what is given does not divide the cell.
    """
    block = machine.layouts.get(cell.size)
    given: dict[str, Any] = {} if block is None else block.model_dump(exclude_none=True)
    check_layout(cell, Layout(backend=machine.backend, **(WHOLE | given)))
    if machine.backend == "cpu":
        return _cpu_layout(cell, machine, given)
    if given.keys() == WHOLE.keys():
        return Layout(backend="cuda", **given)
    limit = USABLE_SHARE * GPUS[machine.gpu].memory_bytes
    hours_of_one = estimated_hours(cell, Layout(backend="cuda", **WHOLE), machine)
    counts = _gpu_counts(cell, machine, given)
    for count in counts:
        if hours_of_one / count <= machine.target_hours:
            for layout in _fitting(cell, machine, count, given, limit):
                if estimated_hours(cell, layout, machine) <= machine.target_hours:
                    return layout
    slower = [one for count in counts for one in _fitting(cell, machine, count, given, limit)]
    if not slower:
        raise SweepError(_nothing_fits(cell, machine, given))
    return min(slower, key=lambda layout: estimated_hours(cell, layout, machine))


def _cpu_layout(cell: Cell, machine: Machine, given: dict[str, Any]) -> Layout:
    layout = Layout(backend="cpu", **(WHOLE | given))
    if "data" not in given:
        rows = cell.batch_rows // layout.micro_batch_rows
        data = _largest_divisor(rows, machine.cpu_processes // layout.tensor)
        layout = replace(layout, data=data)
    if "micro_batch_rows" not in given:
        rows = cell.batch_rows // layout.data
        layout = replace(layout, micro_batch_rows=_largest_divisor(rows, _most_rows(cell, layout)))
    return layout


def _gpu_counts(cell: Cell, machine: Machine, given: dict[str, Any]) -> list[int]:
    """Numbers of GPUs that a cell may take: up to a node, then whole nodes.

    Only those on which pure data parallelism could share the batch, so that no model is divided in
    three for the sake of three GPUs; unless the nodes are such that none of them is a whole node,
    or `machine.layouts` says how to divide.
    """
    node, most = machine.gpus_per_node, machine.max_gpus
    counts = [*range(1, min(node, most) + 1), *range(2 * node, most + 1, node)]
    sharing = [count for count in counts if cell.batch_rows % count == 0]
    if sharing[-1] < min(node, most) or given.keys() & {"tensor", "pipeline", "data"}:
        return counts
    return sharing


def _fitting(
    cell: Cell, machine: Machine, count: int, given: dict[str, Any], limit: float
) -> Iterator[Layout]:
    """Layouts on `count` GPUs that fit in `limit` bytes; the least divided model first."""
    for tensor, pipeline, data in _divisions(cell, machine, count, given):
        divided = {"tensor": tensor, "pipeline": pipeline, "data": data}
        rows = cell.batch_rows // data
        for recompute in (given["recompute"],) if "recompute" in given else ("none", "full"):
            layout = Layout(backend="cuda", **(WHOLE | given | divided | {"recompute": recompute}))
            if rows % layout.micro_batch_rows or process_memory(cell, layout).total > limit:
                continue
            if "micro_batch_rows" not in given:
                layout = _with_largest_pass(cell, layout, limit)
            yield layout
            break


def _divisions(
    cell: Cell, machine: Machine, count: int, given: dict[str, Any]
) -> Iterator[tuple[int, int, int]]:
    """(tensor, pipeline, data) that divide model, node and batch; the least divided model first.

    A tensor group exchanges activations in every layer, so it lies within a node.
    """
    on_node = min(count, machine.gpus_per_node)
    for pipeline in range(1, min(cell.layers, count) + 1):
        if cell.layers % pipeline or given.get("pipeline", pipeline) != pipeline:
            continue
        for tensor in range(1, on_node + 1):
            wholes = (cell.heads, VOCABULARY_SIZE, cell.context_length, on_node)
            if given.get("tensor", tensor) != tensor or any(whole % tensor for whole in wholes):
                continue
            data, rest = divmod(count, tensor * pipeline)
            if rest == 0 and cell.batch_rows % data == 0 and given.get("data", data) == data:
                yield tensor, pipeline, data


def _with_largest_pass(cell: Cell, one_row: Layout, limit: float) -> Layout:
    """The layout with the largest micro-batch that divides the rows and fits."""
    rows, most = cell.batch_rows // one_row.data, _most_rows(cell, one_row)
    for micro in (n for n in range(most, 1, -1) if rows % n == 0):
        layout = replace(one_row, micro_batch_rows=micro)
        if process_memory(cell, layout).total <= limit:
            return layout
    return one_row


def max_pass_tokens(cell: Cell, backend: str) -> int:
    """Tokens of a pass beyond which nothing is gained."""
    large = backend == "cuda" and cell.n_params >= LARGE_PARAMETERS
    return MAX_PASS_TOKENS["cuda, large" if large else backend]


def _most_rows(cell: Cell, layout: Layout) -> int:
    """Rows of a pass beyond which nothing is gained."""
    most = max_pass_tokens(cell, layout.backend) // cell.context_length
    rows = cell.batch_rows // layout.data
    if layout.pipeline > 1:
        rows //= PASSES_PER_STAGE * layout.pipeline
    return max(1, min(most, rows))


def _largest_divisor(whole: int, most: int) -> int:
    return max(n for n in range(1, max(1, min(whole, most)) + 1) if whole % n == 0)


def _nothing_fits(cell: Cell, machine: Machine, given: dict[str, Any]) -> str:
    least: dict[str, Any] = {"micro_batch_rows": 1, "recompute": "full"} | given
    possible = [
        layout
        for count in _gpu_counts(cell, machine, given)
        for layout in _fitting(cell, machine, count, least, math.inf)
    ]
    gpus = f"{machine.max_gpus} {machine.gpu} ({machine.gpus_per_node} a node)"
    where = f"size {cell.size} on up to {gpus}"
    if not possible:
        return f"{where}: machine.layouts gives {given}, which no number of these GPUs allows"
    need, layout = min((process_memory(cell, one).total, one.to_json()) for one in possible)
    return (
        f"{where}: nothing fits. A GPU has {short_bytes(GPUS[machine.gpu].memory_bytes)}; the "
        f"least that one needs is {short_bytes(need)}, with {layout}. Raise "
        "machine.max_gpus or name a GPU with more memory"
        + ("; or give less in machine.layouts" if given else "")
    )
