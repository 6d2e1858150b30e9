"""The batches of a run: which rows a step trains on, and which of them this process."""

import numpy as np

from plm_scaling.sweep.cells import Cell
from plm_scaling.sweep.layout import Layout
from plm_scaling.tokens.order import TrainingOrder
from plm_scaling.tokens.vocabulary import PAD
from plm_scaling.train.batches import Batch, batch_of

READ_AHEAD_STEPS = 64
READ_AHEAD_BYTES = 1 << 25


class Feed:
    """Batches as a pure function of the step, whatever the layout.

    Step s (from 0) trains on the rows from s · `batch_rows`, counted from the start of training.
    They are divided into equal runs of rows, one per replica, and those into micro-batches.
    """

    def __init__(self, order: TrainingOrder, cell: Cell, layout: Layout, replica: int) -> None:
        share = cell.batch_rows // layout.data
        self.order, self.cell = order, cell
        self.begin, self.end = replica * share, (replica + 1) * share
        self.micro_rows = layout.micro_batch_rows
        batch_bytes = cell.batch_rows * cell.context_length
        self.ahead = max(1, min(READ_AHEAD_STEPS, READ_AHEAD_BYTES // batch_bytes))
        self.read_first = -1  # the first step that is in memory
        self.rows = np.empty((0, 0, 0), np.uint8)
        self.unpadded: list[int] = []

    def batches(self, step: int) -> list[Batch]:
        """This replica's micro-batches of a step."""
        rows, first_row = self._rows(step), step * self.cell.batch_rows
        return [
            batch_of(self.cell, rows[begin : begin + self.micro_rows], first_row + begin)
            for begin in range(self.begin, self.end, self.micro_rows)
        ]

    def unpadded_tokens(self, step: int) -> int:
        """Tokens of the step's whole batch that are no padding."""
        self._rows(step)
        return self.unpadded[step - self.read_first]

    def _rows(self, step: int) -> np.ndarray:
        """All rows of a step, (batch_rows, context_length)."""
        first = step // self.ahead * self.ahead
        if first != self.read_first:  # many small reads would take a tenth of a small model's step
            rows = self.order.batch(first * self.cell.batch_rows, self.ahead * self.cell.batch_rows)
            self.rows = rows.reshape(self.ahead, self.cell.batch_rows, -1)
            self.unpadded = np.count_nonzero(self.rows != PAD, axis=(1, 2)).tolist()
            self.read_first = first
        return self.rows[step - first]
