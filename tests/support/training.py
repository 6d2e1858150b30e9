"""Cells small enough to be trained in tests, and the curves they leave."""

import dataclasses
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from configs import read_config

from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.shapes import Shape
from plm_scaling.sweep.make import make_cell
from plm_scaling.train.cell import train_cell
from plm_scaling.train.loop import Loop
from plm_scaling.train.output.curve import MEASURED

UNBROKEN = 10_000.0  # seconds between checkpoints: longer than any test


def small_cell(root: Path, objective: str = "clm", steps: int = 60, **changes: Any) -> Cell:
    """A cell of the corpus that `corpora.write_corpus` writes; `changes` replace any field."""
    config = read_config(root / "config/demo.yaml")
    shape = Shape(1, 16, 42, 2)
    made = make_cell(config, objective, "demo", "study", "tiny", shape, 2e9, seed=1)  # type: ignore[arg-type]
    cell = dataclasses.replace(
        made,
        mixture={"a": 0.5, "b": 0.5},
        context_length=64,
        batch_rows=4,
        steps=steps,
        tokens=steps * 4 * 64,
        warmup_steps=5,
        evaluations=6,
        valid_rows=16,
        peak_learning_rate=1e-2,
    )
    return dataclasses.replace(cell, **changes)


def whole(cell: Cell) -> Layout:
    """One process that takes a batch at once."""
    return Layout("cpu", 1, 1, 1, cell.batch_rows, "none")


def result_of(cell: Cell, folder: Path) -> Path:
    """Where the record of a cell in `folder` is."""
    return folder / "runs" / cell.cell / "result.json"


def run_cell(
    cell: Cell,
    manifest: Path,
    folder: Path,
    checkpoint_seconds: float = UNBROKEN,
    layout: Layout | None = None,
    **options: Any,
) -> None:
    """Train a cell in `folder`."""
    text = (layout or whole(cell)).to_json()
    out = result_of(cell, folder)
    train_cell(cell.to_json(), text, manifest, out, 1, checkpoint_seconds, **options)


def trained(*args: Any, **options: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """Record and curve of a cell after `run_cell`."""
    run_cell(*args, **options)
    cell, _, folder = args[:3]
    return json.loads(result_of(cell, folder).read_text()), curve_of(cell, folder)


def curve_of(cell: Cell, folder: Path) -> pd.DataFrame:
    """The curve without what is measured."""
    return pd.read_csv(result_of(cell, folder).with_name("curve.csv")).drop(columns=[*MEASURED])


@contextmanager
def asked_to_stop(step: int) -> Iterator[None]:
    """Within the block, a run gets SIGTERM during its step `step`."""
    real = Loop.step

    def with_signal(loop: Loop) -> None:
        if loop.position.step + 1 == step:
            signal.raise_signal(signal.SIGTERM)
        real(loop)

    with mock.patch.object(Loop, "step", with_signal):
        yield
