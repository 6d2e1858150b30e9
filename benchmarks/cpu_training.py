"""Training steps of the engine, and of a transformer written by hand in plain PyTorch.

OMP_NUM_THREADS=1 python benchmarks/cpu_training.py --rounds 7 --out TABLE.md

Both have the same recipe and shape, batches of 4096 tokens, AdamW and clipping, fp32. The plain one
(`plain_transformer.py`) has no parallelism, no segments and no checks: it attends over whole rows.
Rows are `whole` (one sequence fills the row: both do the same work, and the losses agree up to the
initial weights) or `packed` (sequences of 100 to 600 residues, cut at the row: the engine
attends within each and so does less; the plain model sees across their borders, which is wrong).
`loader` is what making a batch takes (reading shards in the training order, masking, segments), as
a share of the step. Methods take their steps in turn; medians of tokens per CPU-second.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from plain_transformer import PlainTransformer
from torch.nn import functional

from plm_scaling.config.sweep import Objective, Recipe
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.sweep.make import make_cell
from plm_scaling.tokens.format.vocabulary import EOD
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.data.batches import Batch, batch_of
from plm_scaling.train.data.feed import Feed
from plm_scaling.train.distributed.process import training_process
from plm_scaling.train.engine.base import make_engine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))
from configs import read_config  # noqa: E402
from corpora import write_corpus  # noqa: E402

SHAPES = {"1M": Shape(5, 128, 341, 4), "4M": Shape(5, 256, 682, 8)}
TOKENS_PER_STEP = 4096
RATE = 1e-4
CASES: list[tuple[Objective, str]] = [("clm", "whole"), ("mlm", "whole"), ("clm", "packed")]
LOADED = 256  # batches that the loader makes: four of its reads


def cell_of(recipe: Recipe, objective: Objective, shape: Shape, context: int) -> Cell:
    """A cell of the demo's config with another shape and context."""
    config = read_config(ROOT / "config/demo.yaml")
    made = make_cell(config, objective, "demo", recipe, "bench", shape, 1e15, seed=1)
    return dataclasses.replace(
        made,
        context_length=context,
        batch_rows=TOKENS_PER_STEP // context,
        init_std=0.02,
        mixture={"a": 0.5, "b": 0.5},
    )


def rows_of(kind: str, cell: Cell) -> NDArray[np.uint8]:
    """Random residues; `packed` rows have ends of sequences in them."""
    rng = np.random.default_rng(1)
    rows = rng.integers(1, 21, (cell.batch_rows, cell.context_length)).astype(np.uint8)
    for row in rows if kind == "packed" else []:
        ends = np.cumsum(rng.integers(100, 600, 20))
        row[ends[ends < cell.context_length]] = EOD
    return rows


def plain_step(cell: Cell, batch: Batch) -> Callable[[], object]:
    """A step of the plain model."""
    model = PlainTransformer(cell)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)

    def step() -> float:
        logits = model(batch.inputs)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), batch.labels.flatten(), reduction="none"
        )
        loss = (losses * batch.loss_mask.flatten()).sum() / batch.loss_mask.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def medians(steps: list[Callable[[], object]], rounds: int) -> list[float]:
    """CPU-seconds per step of each method, taken in turn after a warm-up."""
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, of_step in zip(steps, times, strict=True):
            start = time.process_time()
            step()
            of_step.append(time.process_time() - start)
    return [statistics.median(of_step) for of_step in times]


def measure(cell: Cell, kind: str, rounds: int) -> tuple[float, float]:
    """Tokens per CPU-second of the engine and of the plain model."""
    batch = batch_of(cell, rows_of(kind, cell), 0)
    with training_process(Layout("cpu", 1, 1, 1, cell.batch_rows, "none"), 1, 1) as process:
        engine = make_engine(cell, process)
        took = medians([lambda: engine.train_step([batch], RATE), plain_step(cell, batch)], rounds)
    return TOKENS_PER_STEP / took[0], TOKENS_PER_STEP / took[1]


def measure_loader(cell: Cell, rounds: int) -> float:
    """CPU-seconds that making a step's batch takes, from shards on disk, over those of the step."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_corpus(Path(folder), context_length=cell.context_length, n=2000)
        order = TokenCorpus.open(manifest).train_rows(cell.mixture, cell.strata, None, 1)
        layout = Layout("cpu", 1, 1, 1, cell.batch_rows, "none")
        with training_process(layout, 1, 1) as process:
            engine, feed = make_engine(cell, process), Feed(order, cell, layout, 0)
            kept = feed.at(0).batches
            step = medians([lambda: engine.train_step(kept, RATE)], rounds)[0]
        start = time.process_time()
        for number in range(1, LOADED + 1):
            feed.at(number)
        return (time.process_time() - start) / LOADED / step


def main(rounds: int, out: Path) -> None:
    """Measure every case and write the table."""
    lines = [
        "| model | recipe | objective | context | rows | engine | plain | ratio | loader |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, shape in SHAPES.items():
        for recipe, context in product(get_args(Recipe), (256, 1024)):
            for objective, kind in CASES:
                cell = cell_of(recipe, objective, shape, context)
                ours, plain = measure(cell, kind, rounds)
                loader = f"{measure_loader(cell, rounds):.1%}" if kind == "whole" else ""
                lines.append(
                    f"| {size} | {recipe} | {objective} | {context} | {kind} | {ours:,.0f} | "
                    f"{plain:,.0f} | {ours / plain:.2f} | {loader} |"
                )
                print(lines[-1], flush=True)
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each method")
    parser.add_argument("--out", type=Path, required=True, help="the table (Markdown)")
    main(**vars(parser.parse_args()))
