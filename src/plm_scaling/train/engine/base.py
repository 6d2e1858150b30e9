"""What an engine does for the loop: training steps, held-out losses and its state.

`engine_cpu` and `engine_cuda` are the two engines; a layout's backend says which.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from megatron.core.models.gpt import GPTModel

from plm_scaling.study.cell import Cell
from plm_scaling.train.data.batches import Batch
from plm_scaling.train.distributed.process import Process
from plm_scaling.train.evaluate import HeldOut


@dataclass(frozen=True)
class Step:
    """What came of a training step; the same in every process.

    `loss` in nats per predicted token of the whole batch, `gradient_norm` before clipping. A
    `skipped` step has left weights and optimizer as they were.
    """

    loss: float
    gradient_norm: float
    skipped: bool


def is_bad(loss: float, gradient_norm: float, loss_limit: float) -> bool:
    """Whether a step is to be skipped: something is non-finite, or the loss is above its limit."""
    return not (math.isfinite(loss) and math.isfinite(gradient_norm) and loss <= loss_limit)


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
