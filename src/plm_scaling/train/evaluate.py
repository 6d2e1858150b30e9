"""Loss on the held-out rows."""

import numpy as np
import torch
from megatron.core.models.gpt import GPTModel
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from plm_scaling.sweep.cells import Cell
from plm_scaling.train.batches import Batch, causal_batch, masked_batch

EVALUATION_ROWS = 32  # rows per forward pass
EVALUATION_MASK_SEED = 0  # the same masks for every cell and every evaluation


def evaluation_batches(rows: NDArray[np.uint8], cell: Cell) -> list[Batch]:
    """The held-out rows [rows, context_length] as batches; MLM masks are fixed."""
    batches = []
    for first in range(0, len(rows), EVALUATION_ROWS):
        some = rows[first : first + EVALUATION_ROWS]
        if cell.mask_ratio is None:
            batches.append(causal_batch(some))
        else:
            batches.append(masked_batch(some, first, cell.mask_ratio, EVALUATION_MASK_SEED))
    return batches


@torch.no_grad()
def evaluate(model: GPTModel, batches: list[Batch]) -> float:
    """Mean loss in nats/token over all predicted tokens."""
    total = count = 0.0
    for batch in batches:
        losses = token_losses(model, batch)
        total += float((losses * batch.loss_mask).sum(dtype=torch.float64))
        count += float(batch.loss_mask.sum(dtype=torch.float64))
    return total / count


def token_losses(model: GPTModel, batch: Batch) -> torch.Tensor:
    """Cross entropy per token in nats, [rows, context_length]; meaningful where `loss_mask` is 1.

    megatron-core's own loss sums over the ranks that share the vocabulary; in one process those
    three all-reduces cost a tenth of a small model's step.
    """
    logits = model(batch.inputs, batch.positions, batch.segments)
    return cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="none").view(
        batch.labels.shape
    )
