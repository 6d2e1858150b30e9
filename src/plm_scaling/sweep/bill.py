"""The bill: what each cell of a sweep trains, on how many processes, and what that takes."""

from collections.abc import Callable, Collection
from typing import NamedTuple, get_args

from plm_scaling.common.progress import short_bytes, short_number
from plm_scaling.config.machine import Machine, Order
from plm_scaling.study.cell import Cell
from plm_scaling.study.hardware import GPUS
from plm_scaling.study.layout import Layout
from plm_scaling.study.short_runs import short_runs
from plm_scaling.sweep.choose import USABLE_SHARE, choose_layouts
from plm_scaling.sweep.cost import estimated_hours
from plm_scaling.sweep.launch import resources
from plm_scaling.sweep.memory import process_memory
from plm_scaling.sweep.order import curves, jobs_in_order
from plm_scaling.sweep.schedule import simulate
from plm_scaling.sweep.supply import Supply


class _Line(NamedTuple):
    """A cell and how it is to be trained."""

    cell: Cell
    layout: Layout
    hours: float
    supply: Supply | None


# Heading and text of each column. Those of `_VARYING` are left out when all cells have the same,
# those of `_SPARE` one after the other as long as lines are wider than `WIDTH` characters.
_COLUMNS: dict[str, Callable[[_Line], str]] = {
    "cell": lambda line: line.cell.cell,
    "obj": lambda line: line.cell.objective,
    "corpus": lambda line: line.cell.corpus,
    "recipe": lambda line: line.cell.recipe,
    "from": lambda line: line.cell.init_from or "",
    "size": lambda line: line.cell.size,
    "N": lambda line: short_number(line.cell.n_params),
    "tokens": lambda line: short_number(line.cell.tokens),
    "epochs": lambda line: _epochs(line),
    "D/N": lambda line: f"{line.cell.tokens / line.cell.n_params:.3g}",
    "steps": lambda line: str(line.cell.steps),
    "batch": lambda line: short_number(line.cell.batch_rows * line.cell.context_length),
    "decay": lambda line: f"{line.cell.weight_decay:g}",
    "mask": lambda line: "" if line.cell.mask_ratio is None else f"{line.cell.mask_ratio:g}",
    "lr": lambda line: f"{line.cell.peak_learning_rate:.1e}",
    "C=6ND": lambda line: f"{line.cell.flops:.2e}",
    "C exact": lambda line: f"{line.cell.flops_exact:.2e}",
    "TP·PP·DP": lambda line: f"{line.layout.tensor}·{line.layout.pipeline}·{line.layout.data}",
    "rows": lambda line: f"{line.layout.micro_batch_rows}",
    "again": lambda line: "yes" if line.layout.recompute == "full" else "",
    "memory": lambda line: short_bytes(process_memory(line.cell, line.layout).total),
    "hours": lambda line: f"{line.hours:.2g}",
}
_VARYING = ("corpus", "recipe", "from", "again")
_KNOWN = ("epochs",)  # left out where no cell has one
_AXES = ("decay", "mask")  # left out unless cells that have a value have several
_SPARE = ("C exact", "steps", "recipe", "batch", "lr")
WIDTH = 160
MORE_GPUS = (1, 4, 16)
_TEXTS = ("cell", "obj", "corpus", "recipe", "from")  # to the left; numbers to the right


def bill(
    cells: list[Cell],
    machine: Machine,
    tuning: Collection[str] = (),
    supply: Supply | None = None,
) -> str:
    """The sweep as a table, and what it costs on `machine`; `tuning` are ids of the cells that only
    show the best learning rate, `supply` what the data give. Raises `SweepError`."""
    layouts = choose_layouts(cells, machine)
    lines = [
        _Line(cell, layout, estimated_hours(cell, layout, machine), supply)
        for cell, layout in zip(cells, layouts, strict=True)
    ]
    table = _table(lines)
    rule = "-" * len(table[0])
    said = [table[0], rule, *table[1:], rule, *_totals(lines, tuning), *_costs(lines, machine)]
    if machine.backend == "cuda":
        said += _finish(cells, layouts, machine)
    return "\n".join(said)


def _finish(cells: list[Cell], layouts: list[Layout], machine: Machine) -> list[str]:
    """Hours until all cells, and those from scratch of each budget, are done, by GPUs and order.

    The GPUs are those of the largest cell, in whole nodes, and `MORE_GPUS` times as many.
    """
    by_id = {cell.cell: cell for cell in cells}
    budgets = curves(by_id)
    widest = max(layout.processes for layout in layouts)
    nodes = -(-widest // machine.gpus_per_node)
    rows = [[machine.gpu, "order", "all", *(f"{budget:g}" for budget in budgets)]]
    for count in (more * nodes * machine.gpus_per_node for more in MORE_GPUS):
        for order in get_args(Order):
            ordered = machine.model_copy(update={"order": order})
            times = simulate(jobs_in_order(by_id, layouts, ordered), count, machine.gpus_per_node)
            ends = {name: end for name, (_, end) in times.items()}
            last = [max(map(ends.__getitem__, names)) for names in (ends, *budgets.values())]
            rows.append([str(count), order, *(_hours(hours) for hours in last)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading = (
        "hours until all cells are done, and those from scratch of each budget, by machine.order "
        f"(here {machine.order}):"
    )
    return [heading, *("  ".join(map(str.rjust, row, widths)) for row in rows)]


def _epochs(line: _Line) -> str:
    if line.supply is None:
        return "" if line.cell.epochs is None else f"{line.cell.epochs:.3g}"
    return ("" if line.supply.exact else "≥") + f"{line.supply.epochs(line.cell):.3g}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _table(lines: list[_Line]) -> list[str]:
    columns = {name: [name, *(text(line) for line in lines)] for name, text in _COLUMNS.items()}
    for name in _VARYING:
        if len(set(columns[name][1:])) == 1:
            del columns[name]
    for name in _KNOWN:
        if not any(columns[name][1:]):
            del columns[name]
    for name in _AXES:
        if len({*columns[name][1:]} - {""}) < 2:
            del columns[name]
    for name in _SPARE:
        if sum(max(map(len, texts)) + 2 for texts in columns.values()) - 2 > WIDTH:
            columns.pop(name, None)
    padded = []
    for name, texts in columns.items():
        side, width = "<" if name in _TEXTS else ">", max(map(len, texts))
        padded.append([f"{text:{side}{width}}" for text in texts])
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _totals(lines: list[_Line], tuning: Collection[str]) -> list[str]:
    tokens = sum(line.cell.tokens for line in lines)
    total = sum(line.cell.flops for line in lines)
    exact = sum(line.cell.flops_exact for line in lines)
    said = [
        f"{len(lines)} cells, {short_number(tokens)} tokens, C = {total:.3g} FLOPs (6·N·D), "
        f"{exact:.3g} with attention and the output layer"
    ]
    if only := [line for line in lines if line.cell.cell in tuning]:
        share = sum(line.hours * line.layout.processes for line in only)
        share /= sum(line.hours * line.layout.processes for line in lines)
        said.append(
            f"{len(only)} of them only tune the learning rate (sweep.tuning), {share:.2g} of the "
            "hours"
        )
    if few := short_runs((line.cell.steps, line.cell.warmup_steps) for line in lines):
        said.append(few)
    supply = lines[0].supply
    if supply:
        how = "by its token shards" if supply.exact else "at least, by the size of its files"
        said.append(f"epochs: of the scarcest source, {how}")
    elif any(line.cell.epochs is not None for line in lines):
        said.append(
            "epochs: of the source that corpora.{name}.unique_tokens makes the scarcest, at most: "
            "tokens count padding, unique_tokens does not"
        )
    return said


def _costs(lines: list[_Line], machine: Machine) -> list[str]:
    process_hours = sum(line.hours * line.layout.processes for line in lines)
    if machine.backend == "cpu":
        return [
            f"{process_hours * machine.threads:.3g} core-hours (CPU) at {machine.cpu_gflops:g} "
            "GFLOP/s a core, as the config assumes",
            "rows: of one pass; memory: peak of one process, with PyTorch's own (estimate)",
        ]
    gpu = GPUS[machine.gpu]
    longest = max(lines, key=lambda line: line.hours)
    said = [
        f"{process_hours:.3g} {machine.gpu}-hours at the utilisation that the config assumes "
        f"(peak {gpu.peak_flops_per_second / 1e12:g} TFLOP/s); the longest cell, "
        f"{longest.cell.size} at {longest.cell.flops_budget:g} FLOPs, takes {longest.hours:.3g} "
        f"hours on {longest.layout.processes}",
        "TP·PP·DP: GPUs that share each layer · stages · replicas; rows: of one pass; memory: peak "
        f"of a GPU (estimate; of {short_bytes(gpu.memory_bytes)}, {USABLE_SHARE:.0%} used)",
    ]
    asked = [int(resources(line.cell, line.layout, machine, 1)["mem_mb"]) for line in lines]
    most = lines[asked.index(max(asked))]
    said.append(
        f"main memory of a node: at most {short_bytes(max(asked) * 1e6)}, asked by "
        f"{most.cell.size} on {most.layout.processes} for its checkpoints"
    )
    if any(line.layout.recompute == "full" for line in lines):
        said.append("again: activations are computed again in the backward pass, to save memory")
    if slow := [line for line in lines if line.hours > machine.target_hours]:
        said.append(
            f"longer than machine.target_hours ({machine.target_hours:g}) even on machine.max_gpus "
            f"({machine.max_gpus}): {', '.join(line.cell.cell for line in slow[:5])}"
            + (f" and {len(slow) - 5} more" if len(slow) > 5 else "")
        )
    return said
