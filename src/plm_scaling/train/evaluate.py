"""Loss on the held-out rows."""

from dataclasses import replace

import numpy as np
import torch
from megatron.core.models.gpt import GPTModel
from numpy.typing import NDArray

from plm_scaling.sweep.cells import Cell
from plm_scaling.train.batches import Batch, batch_of
from plm_scaling.train.losses import model_losses

EVALUATION_ROWS = 32  # rows per forward pass
EVALUATION_MASK_SEED = 0  # the same masks for every cell and every evaluation


def evaluation_batches(rows: NDArray[np.uint8], cell: Cell) -> list[Batch]:
    """The held-out rows [rows, context_length] as batches; MLM masks are fixed."""
    fixed = replace(cell, seed=EVALUATION_MASK_SEED)
    return [
        batch_of(fixed, rows[first : first + EVALUATION_ROWS], first)
        for first in range(0, len(rows), EVALUATION_ROWS)
    ]


@torch.no_grad()
def evaluate(model: GPTModel, batches: list[Batch]) -> float:
    """Mean loss in nats/token over all predicted tokens."""
    total = count = 0.0
    for batch in batches:
        losses = model_losses(model, batch)
        total += float((losses * batch.loss_mask).sum(dtype=torch.float64))
        count += float(batch.loss_mask.sum(dtype=torch.float64))
    return total / count
