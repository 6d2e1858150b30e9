"""sweep.tsv and the bill."""

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plm_scaling.config.load import validate_blocks
from plm_scaling.config.schema import SweepInputs
from plm_scaling.files import atomic
from plm_scaling.progress import short_number
from plm_scaling.sweep.cells import Cell, plan_cells
from plm_scaling.sweep.flops import training_memory_bytes

logger = logging.getLogger("plm_scaling")

_TEXT = {"objective", "recipe", "size", "corpus", "precision"}
_OPTIONAL = {"mask_ratio", "masking", "init_from", "source_flops", "unique_tokens_limit"}
_JSON = {"mixture", "strata", "unique_tokens_limit"}


def plan_sweep(blocks: str, out: Path) -> None:
    """Write sweep.tsv for the config blocks given as JSON (those of `SweepInputs`)."""
    config = validate_blocks(SweepInputs, json.loads(blocks), "--blocks")
    cells = plan_cells(config).values()
    write_sweep(cells, out)
    logger.info(
        "[sweep] %d cells, %s FLOPs (`plan` shows them)",
        len(cells),
        short_number(sum(cell.flops for cell in cells)),
    )


def write_sweep(cells: Iterable[Cell], out: Path) -> None:
    """One row per cell; missing values are empty, lists and mappings are JSON."""
    rows = [{"cell": cell.cell, **asdict(cell)} for cell in cells]
    with atomic(out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            as_json = {name: json.dumps(row[name]) for name in _JSON if row[name] is not None}
            writer.writerow(row | as_json)


def read_sweep(path: Path) -> list[Cell]:
    """Inverse of `write_sweep`."""
    with path.open(newline="") as file:
        return [_parse(row) for row in csv.DictReader(file, delimiter="\t")]


def _parse(row: dict[str, str]) -> Cell:
    values: dict[str, Any] = {}
    for name, text in row.items():
        if name == "cell":
            continue
        if name in _TEXT:
            values[name] = text
        elif name in _OPTIONAL and text == "":
            values[name] = None
        else:
            values[name] = text if name in ("init_from", "masking") else json.loads(text)
    return Cell(**values)


def show_plan(sweep: Path) -> None:
    """Print the bill of a sweep.tsv."""
    print(bill(read_sweep(sweep)), flush=True)


def bill(cells: list[Cell]) -> str:
    """The sweep as a table for the terminal: what each cell trains and costs, and the totals."""
    width = max(len("corpus"), *(len(cell.corpus) for cell in cells))
    header = (
        f"{'cell':10}  {'obj':3}  {'corpus':{width}}  {'size':>6}  {'N':>7}  {'tokens':>7}  "
        f"{'epochs':>6}  {'D/N':>6}  {'steps':>7}  {'batch':>7}  {'lr':>7}  "
        f"{'C=6ND':>8}  {'C exact':>8}  {'memory':>7}"
    )
    lines = [
        header,
        "-" * len(header),
        *(_bill_line(cell, width) for cell in cells),
        "-" * len(header),
    ]
    total, exact = sum(c.flops for c in cells), sum(c.flops_exact for c in cells)
    lines.append(
        f"{len(cells)} cells, {short_number(sum(c.tokens for c in cells))} tokens, "
        f"C = {total:.3g} FLOPs (6·N·D), {exact:.3g} with attention and the output layer"
    )
    lines.append(
        f"that is {exact / 4e14 / 3600:.3g} GPU-hours at 400 TFLOP/s achieved (40 % of an H100's "
        f"peak in bf16), or {exact / 1e10 / 3600:.3g} core-hours at 10 GFLOP/s (a CPU core)"
    )
    if any(cell.epochs is not None for cell in cells):
        lines.append("epochs: of the source that corpora.{name}.unique_tokens makes the scarcest")
    lines.append("memory: fp32 weights, gradients, AdamW and activations in one process (estimate)")
    return "\n".join(lines)


def _bill_line(cell: Cell, width: int) -> str:
    memory = training_memory_bytes(cell.shape, cell.batch_rows, cell.context_length)
    epochs = "" if cell.epochs is None else f"{cell.epochs:.3g}"
    return (
        f"{cell.cell:10}  {cell.objective:3}  {cell.corpus:{width}}  {cell.size:>6}  "
        f"{short_number(cell.n_params):>7}  "
        f"{short_number(cell.tokens):>7}  {epochs:>6}  {cell.tokens / cell.n_params:>6.3g}  "
        f"{cell.steps:>7}  {short_number(cell.batch_rows * cell.context_length):>7}  "
        f"{cell.peak_learning_rate:>7.1e}  {cell.flops:>8.2e}  {cell.flops_exact:>8.2e}  "
        f"{short_number(memory) + 'B':>7}"
    )
