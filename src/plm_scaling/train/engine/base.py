"""What an engine does for the loop: training steps, held-out losses and its state.

`engine_cpu` and `engine_cuda` are the two engines; a layout's backend says which.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from megatron.core.models.gpt import GPTModel
from torch import Tensor

from plm_scaling.study.cell import Cell
from plm_scaling.train.data.batches import Batch
from plm_scaling.train.distributed.collective import everywhere
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.evaluate import HeldOut


@dataclass(frozen=True)
class Step:
    """What came of a training step; the same in every process.

    `loss` in nats per predicted token of the whole batch, None where none is predicted (few masks
    and very short proteins) and so nothing learnt; `gradient_norm` before clipping. A `skipped`
    step has left weights and optimizer as they were; `cause` says which rows or which parameter it
    was.
    """

    loss: float | None
    gradient_norm: float
    skipped: bool
    cause: str = ""


NOTHING_TO_LEARN = Step(None, 0.0, skipped=False)


def is_bad(loss: float, gradient_norm: float, loss_limit: float) -> bool:
    """Whether a step is to be skipped: something is non-finite, or the loss is above its limit."""
    return not (math.isfinite(loss) and math.isfinite(gradient_norm) and loss <= loss_limit)


def cause_of_skip(
    passes: list[list[float]],
    rows: int,
    first_row: int,
    gradients: Iterable[tuple[str, Tensor | None]],
) -> str:
    """Which rows of the batch had the largest loss, or a non-finite one, and in which parameters
    the gradient is non-finite; of those the nearest to the loss is named. Collective.

    `passes` are nats and tokens of this process's passes of `rows` rows each, the first from
    `first_row` on; `gradients` in the order of the model.
    """
    losses = [(nats / tokens if tokens else 0.0) for nats, tokens in passes]
    worst = [(not math.isfinite(x), x, first_row + n * rows) for n, x in enumerate(losses)]
    names = [name for name, g in gradients if g is not None and not g.isfinite().all()]
    found = everywhere(lambda: (max(worst, default=(False, -math.inf, 0)), names))
    _, loss, row = max(of_process[0] for of_process in found)
    text = f"rows {row} to {row + rows - 1} of the batch have loss {loss:.4g}"
    bad = [name for of_process in found for name in of_process[1]]
    return text + (f", the gradient of {bad[-1]} is non-finite" if bad else "")


class Engine(Protocol):
    """A model in training. Every process of the layout calls every method, in the same order."""

    @property
    def model(self) -> GPTModel:
        """This process's part of the model, not wrapped."""

    def train_step(
        self, batches: list[Batch], learning_rate: float, loss_limit: float = math.inf
    ) -> Step:
        """One optimizer step on the micro-batches of this replica.

        The gradient is that of the loss summed over all predicted tokens of all replicas, divided
        by their number, so that it depends on the layout only by rounding. A step whose loss is
        above `loss_limit`, or whose loss or gradient norm is non-finite, is skipped.
        """

    def working_seconds(self) -> float:
        """Of the last step's passes, of those in which this process waits for no other replica.
        Asking waits for nothing."""

    def held_out_losses(self, held_out: HeldOut) -> dict[str, float]:
        """Mean loss of each held-out set (nats/token), the same in every process."""

    def weights_replaced(self) -> None:
        """To be called after weights were loaded into `model`, before the first step."""

    def sharded_state(self) -> dict[str, Any]:
        """Model and optimizer as sharded tensors, views to be saved or to be read into."""

    def load_state(self, rest: dict[str, Any]) -> None:
        """To be called after a checkpoint was read into `sharded_state()`, with all the rest."""


def make_engine(cell: Cell, process: Process) -> Engine:
    """The engine of the process's backend with a new model."""
    if process.layout.backend == "cpu":
        from plm_scaling.train.engine.cpu import CpuEngine

        return CpuEngine(cell, process)
    from plm_scaling.train.engine.cuda import CudaEngine

    return CudaEngine(cell, process)
