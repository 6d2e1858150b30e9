"""Training steps on one GPU, by size; prints the throughput table of docs/benchmarks.md.

python benchmarks/gpu_training.py --sizes 85M 300M 680M 1.2B 2.8B --recipes study --objectives mlm \
    --steps 3 --out TABLE.md

takes some seven minutes at 40 % of an H100's peak. The full config's cells on one sequence a row
(nothing to pad) and on packed rows from shards, with a batch of `--rows` rows, in the layout that
the bill chooses for this GPU. Utilisation (MFU) is as in the record: of the peak, by all matrix
products of a step with attention over whole rows, the same with attention within segments, and by
6·N·D. `loader` is the time of a step with the loader over that of a step whose batch is cached,
groups of both in turn. Memory is what PyTorch's tensors took, and the estimate without libraries.
"""

import argparse
import dataclasses
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch

from plm_scaling.common.errors import SweepError
from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import STUDY_GRID
from plm_scaling.sweep.choose import choose_layout
from plm_scaling.sweep.make import make_cell
from plm_scaling.sweep.memory import process_memory
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.data.batches import batch_of
from plm_scaling.train.data.feed import Feed, Prefetched, StepBatches
from plm_scaling.train.distributed.process import Process, training_process
from plm_scaling.train.engine.base import Engine, make_engine
from plm_scaling.train.output.throughput import Hardware, Throughput, gpu_named
from plm_scaling.train.position import Position

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))
from configs import read_config  # noqa: E402
from corpora import write_corpus  # noqa: E402

SEQUENCES = 40_000  # of each of two sources, of 60 residues on average: 4,800 rows
RATE = 1e-5
WARM_UP_STEPS = 3
ROUNDS = 3
COLUMNS = [
    *("size", "recipe", "objective", "rows of a step", "layout", "rows hold", "tokens/s"),
    *("utilisation", "by segments", "by 6ND", "loader", "memory: estimate", "measured", "ratio"),
]


def cell_of(size: str, recipe: Recipe, objective: Objective, rows: int) -> Cell:
    """A cell of the full config on the corpus of `write_corpus`."""
    config = read_config(ROOT / "config.yaml")
    corpus = next(iter(config.corpora))
    made = make_cell(config, objective, corpus, recipe, size, STUDY_GRID[size], 1e22, seed=1)
    return dataclasses.replace(
        made,
        unique_tokens_limit=None,
        batch_rows=rows,
        mixture={"a": 0.5, "b": 0.5},
        strata=["kept"],
    )


def whole_rows(cell: Cell, layout: Layout) -> StepBatches:
    """A step's micro-batches of random residues."""
    rng = np.random.default_rng(1)
    shape = (layout.micro_batch_rows, cell.context_length)
    batches = [
        batch_of(cell, rng.integers(1, 21, shape).astype(np.uint8), first_row)
        for first_row in range(0, cell.batch_rows, layout.micro_batch_rows)
    ]
    pairs = sum(batch.segments.pairs(cell.objective) for batch in batches)
    return StepBatches(batches, cell.batch_rows * cell.context_length, pairs)


def seconds_of(engine: Engine, step_batches: list[Callable[[], StepBatches]]) -> float:
    """Seconds of steps on these batches, until the GPU has done them."""
    torch.cuda.synchronize()
    begin = time.monotonic()
    for batches in step_batches:
        engine.train_step(batches().batches, RATE)
    torch.cuda.synchronize()
    return time.monotonic() - begin


def throughput(
    cell: Cell, process: Process, batches: StepBatches, steps: int, seconds: float
) -> Throughput:
    """As the record of a run that took `seconds` for so many steps on such batches."""
    position = Position(step=steps, seconds=seconds, attended=steps * batches.attended)
    return Throughput.of(cell, position, Hardware.of(process))


def measure(cell: Cell, layout: Layout, manifest: Path, steps: int) -> Iterator[list[str]]:
    """Columns of whole rows and of packed ones."""
    with training_process(layout, 4, 1) as process:
        order = TokenCorpus.open(manifest).train_rows(cell.mixture, cell.strata, None, 1)
        feed = Prefetched(Feed(order, cell, layout, 0), process.device)
        engine, whole, packed = make_engine(cell, process), whole_rows(cell, layout), feed.at(0)
        numbers = iter(range(1, 10**6))
        groups: dict[str, Callable[[], StepBatches]] = {
            "whole": lambda: whole,
            "packed": lambda: packed,
            "loaded": lambda: feed.at(next(numbers)),
        }
        took: dict[str, list[float]] = {name: [] for name in groups}
        for batches in groups.values():
            seconds_of(engine, [batches] * WARM_UP_STEPS)
        for _ in range(ROUNDS):
            for name, batches in groups.items():
                took[name].append(seconds_of(engine, [batches] * steps))
        whole_s, packed_s, loaded_s = (statistics.median(took[name]) for name in groups)
        estimate = process_memory(cell, layout)
        expected = estimate.total - estimate.libraries
        measured = torch.cuda.max_memory_allocated()
        memory = [f"{expected / 1e9:.1f} GB", f"{measured / 1e9:.1f} GB"]
        rows = {"one sequence": (whole, whole_s), "packed": (packed, loaded_s)}
        for name, (step, seconds) in rows.items():
            speed = throughput(cell, process, step, steps, seconds)
            utilisation = [speed.utilisation, speed.utilisation_segments, speed.utilisation_6nd]
            yield [
                name,
                f"{speed.tokens_per_second:,.0f}",
                *("" if share is None else f"{share:.1%}" for share in utilisation),
                f"{loaded_s / packed_s:.3f}" if name == "packed" else "",
                *([*memory, f"{expected / measured:.2f}"] if name == "packed" else [""] * 3),
            ]


def main(
    sizes: list[str],
    recipes: list[Recipe],
    objectives: list[Objective],
    rows: int,
    steps: int,
    out: Path,
) -> None:
    """Measure every size in these recipes and objectives; write the table as it grows."""
    config = read_config(ROOT / "config.yaml")
    gpu = gpu_named(torch.cuda.get_device_name())
    if gpu is None:
        raise SweepError(f"{torch.cuda.get_device_name()} is not in the table of GPUs")
    changes = {"backend": "cuda", "gpu": gpu, "max_gpus": 1, "layouts": {}}
    machine = config.machine.model_copy(update=changes)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    with tempfile.TemporaryDirectory() as folder:
        context = config.tokens.context_length
        manifest = write_corpus(Path(folder), context_length=context, n=SEQUENCES)
        for size, recipe, objective in product(sizes, recipes, objectives):
            cell = cell_of(size, recipe, objective, rows)
            layout = choose_layout(cell, machine)
            division = f"{layout.micro_batch_rows} a pass, recompute {layout.recompute}"
            for values in measure(cell, layout, manifest, steps):
                columns = [size, recipe, objective, str(rows), division, *values]
                lines.append("| " + " | ".join(columns) + " |")
                print(lines[-1], flush=True)
                out.write_text("\n".join(lines) + "\n")
            forget()


def forget() -> None:
    """Before the next case: memory of the last one (engines are in circles), and what was compiled
    for it, which would have kernels of any width compiled for the others."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch._dynamo.reset()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", required=True, help="sizes of the study's grid")
    parser.add_argument("--recipes", nargs="+", default=["study", "prenorm"])
    parser.add_argument("--objectives", nargs="+", default=["mlm", "clm"])
    parser.add_argument("--rows", type=int, default=128, help="rows of a step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a group")
    parser.add_argument("--out", type=Path, required=True, help="the table (Markdown)")
    main(**vars(parser.parse_args()))
