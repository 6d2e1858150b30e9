"""The batches of a run: which rows a step trains on, and which of them this process."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.tokens.format.vocabulary import PAD
from plm_scaling.tokens.read.order import TrainingOrder
from plm_scaling.train.data.batches import Batch, batch_of

READ_AHEAD_STEPS = 64
READ_AHEAD_BYTES = 1 << 25


@dataclass(frozen=True)
class StepBatches:
    """A replica's micro-batches of a step; `unpadded_tokens` of the whole batch, all replicas',
    and `attended`, the pairs of a token and one that it attends to: this replica's, times theirs.
    """

    batches: list[Batch]
    unpadded_tokens: int
    attended: float


class Batches(Protocol):
    """The batches of each step (from 0), a pure function of it."""

    def at(self, step: int) -> StepBatches:
        """Those of a step."""

    def close(self) -> None:
        """No batch is asked for any more."""


class Feed:
    """Batches as a pure function of the step, whatever the layout.

    Step s trains on the rows from s · `batch_rows`, counted from the start of training. They are
    divided into equal runs of rows, one per replica, and those into micro-batches.
    """

    def __init__(self, order: TrainingOrder, cell: Cell, layout: Layout, replica: int) -> None:
        share = cell.batch_rows // layout.data
        self.order, self.cell = order, cell
        self.begin, self.end = replica * share, (replica + 1) * share
        self.micro_rows, self.replicas = layout.micro_batch_rows, layout.data
        batch_bytes = cell.batch_rows * cell.context_length
        self.ahead = max(1, min(READ_AHEAD_STEPS, READ_AHEAD_BYTES // batch_bytes))
        self.read_first = -1  # the first step that is in memory
        self.rows = np.empty((0, 0, 0), np.uint8)
        self.unpadded: list[int] = []

    def at(self, step: int) -> StepBatches:
        """See `Batches`."""
        first = step // self.ahead * self.ahead
        if first != self.read_first:  # many small reads would take a tenth of a small model's step
            rows = self.order.batch(first * self.cell.batch_rows, self.ahead * self.cell.batch_rows)
            self.rows = rows.reshape(self.ahead, self.cell.batch_rows, -1)
            self.unpadded = np.count_nonzero(self.rows != PAD, axis=(1, 2)).tolist()
            self.read_first = first
        rows, first_row = self.rows[step - first], step * self.cell.batch_rows
        batches = [
            batch_of(self.cell, rows[begin : begin + self.micro_rows], first_row + begin)
            for begin in range(self.begin, self.end, self.micro_rows)
        ]
        pairs = sum(batch.segments.pairs(self.cell.objective) for batch in batches)
        return StepBatches(batches, self.unpadded[step - first], self.replicas * pairs)

    def close(self) -> None:
        """See `Batches`."""


class Prefetched:
    """The same batches, made and, for a GPU, pinned by a thread while it computes the step before.

    Not on CPUs, where it would take the time from the step itself.
    """

    def __init__(self, feed: Feed, device: torch.device) -> None:
        self.feed, self.pins = feed, device.type == "cuda"
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.next_step = -1
        self.next: Future[StepBatches]

    def at(self, step: int) -> StepBatches:
        """See `Batches`."""
        ready = self.next if step == self.next_step else self.thread.submit(self._made, step)
        self.next_step, self.next = step + 1, self.thread.submit(self._made, step + 1)
        return ready.result()

    def close(self) -> None:
        """See `Batches`; waits for the batch that the thread is making."""
        self.thread.shutdown(cancel_futures=True)

    def _made(self, step: int) -> StepBatches:
        made = self.feed.at(step)
        if not self.pins:
            return made
        return replace(made, batches=[batch.pinned() for batch in made.batches])
