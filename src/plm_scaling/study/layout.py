"""How the processes of a training job divide a model and its batches."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from plm_scaling.common.errors import SweepError
from plm_scaling.study.cell import Cell, read_fields
from plm_scaling.study.shapes import VOCABULARY_SIZE

_COUNTS = ("tensor", "pipeline", "data", "micro_batch_rows", "step_log_rows")


@dataclass(frozen=True)
class Layout:
    """Model and batch over `processes` = tensor · pipeline · data processes: speed and memory, and
    results only by rounding, so it is no part of a cell. With it goes what a run shows, and how
    long it may take to start."""

    backend: str
    """cpu (gloo) or cuda (nccl), one process per GPU."""
    tensor: int
    """Processes that share each layer's matrices (TP)."""
    pipeline: int
    """Groups of layers that follow one another (PP); 1 on the CPU."""
    data: int
    """Replicas, each on its share of the batch's rows (DP)."""
    micro_batch_rows: int
    """Rows of one forward and backward pass; the gradients of a step's passes are summed."""
    recompute: str
    """none, or full: activations are computed again in the backward pass; none on the CPU."""
    step_log_rows: int = 1000
    """Rows of steps.csv, at most."""
    tensorboard: bool = False
    """Whether the run also writes event files for TensorBoard."""
    start_minutes: float = 30.0
    """A run that makes no step within so many minutes ends."""

    @property
    def processes(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def sequence_parallel(self) -> bool:
        """Whether what lies between the matrices is divided over the tensor processes, too."""
        return self.backend == "cuda" and self.tensor > 1

    def passes(self, cell: Cell) -> int:
        """Forward and backward passes of a replica in each step."""
        return cell.batch_rows // (self.data * self.micro_batch_rows)

    def ffn(self, cell: Cell) -> int:
        """Width of the MLP in each of the processes that share it (TP), with its padding of zeros.

        On GPUs a multiple of 64, since matrix products take two to four times as long where it is
        no multiple of 8.
        """
        unit = 64 if self.backend == "cuda" else 1
        return unit * -(-cell.ffn // (unit * self.tensor))

    def to_json(self) -> str:
        """One line of JSON, as the training program takes it."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "Layout":
        """Inverse of `to_json`. Raises `SweepError` naming what is missing, unknown or no value."""
        values = read_fields(cls, text)
        if values["backend"] not in ("cpu", "cuda"):
            raise SweepError(f"--layout: backend is {values['backend']!r}; give cpu or cuda")
        if values["recompute"] not in ("none", "full"):
            raise SweepError(f"--layout: recompute is {values['recompute']!r}; give none or full")
        for name in _COUNTS:
            if type(values[name]) is not int or values[name] < 1:
                raise SweepError(f"--layout: {name} is {values[name]!r}; give 1, 2, 3 …")
        minutes = values.get("start_minutes", cls.start_minutes)
        if not isinstance(minutes, int | float) or not minutes > 0:
            raise SweepError(f"--layout: start_minutes is {minutes!r}; give minutes, above 0")
        return cls(**values)


def check_layout(cell: Cell, layout: Layout) -> None:
    """Raise `SweepError` saying all that keeps `layout` from dividing `cell`."""
    if problems := list(_problems(cell, layout)):
        raise SweepError(
            f"size {cell.size} cannot be divided as {layout.to_json()}: {'; '.join(problems)}; "
            "change that or the block machine of the config"
        )


def _problems(cell: Cell, layout: Layout) -> Iterator[str]:
    if layout.backend == "cpu" and (layout.pipeline > 1 or layout.recompute == "full"):
        yield "the cpu backend has neither pipeline > 1 nor recompute full"
    if layout.backend == "cpu" and cell.precision != "fp32":
        yield "the cpu backend trains only in fp32 (training.precision)"
    divided = {"heads": cell.heads, "the vocabulary": VOCABULARY_SIZE}
    if layout.sequence_parallel:
        divided["the context length"] = cell.context_length
    for name, whole in divided.items():
        if whole % layout.tensor:
            yield f"tensor {layout.tensor} does not divide {name} {whole}"
    if cell.layers % layout.pipeline:
        yield f"pipeline {layout.pipeline} does not divide layers {cell.layers}"
    if cell.batch_rows % (layout.data * layout.micro_batch_rows):
        yield (
            f"data {layout.data} · micro_batch_rows {layout.micro_batch_rows} does not divide the "
            f"{cell.batch_rows} rows of a batch"
        )
