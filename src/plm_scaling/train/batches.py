"""From rows of tokens to what a model is trained on: inputs, labels, loss mask, segments."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plm_scaling.tokens.packing import segment_bounds
from plm_scaling.tokens.vocabulary import EOD, MASK, PAD
from plm_scaling.train.attention import Segments


@dataclass(frozen=True)
class Batch:
    """`inputs` and `labels` [rows, context_length] int64, `loss_mask` of that shape in {0, 1}."""

    inputs: Tensor
    labels: Tensor
    loss_mask: Tensor
    positions: Tensor
    segments: Segments


def causal_batch(rows: NDArray[np.uint8]) -> Batch:
    """Next-token prediction within each sequence; its eod is the last label."""
    labels = np.roll(rows, -1, axis=1)
    starts, lengths = segment_bounds(rows)
    loss_mask = rows != PAD
    loss_mask.flat[starts + lengths - 1] = False  # nothing follows a segment's last token
    return _batch(rows, labels, loss_mask)


def masked_batch(rows: NDArray[np.uint8], first_row: int, mask_ratio: float, seed: int) -> Batch:
    """Prediction of a random share `mask_ratio` of the residues, each replaced by `<mask>`.

    None keeps its residue or gets a random one (80/10/10), which would lower the loss by what the
    model can copy. The choice depends on `seed` and on each row's index (`first_row` is the first
    one's), not on how rows are batched.
    """
    width = rows.shape[1]
    draws = [np.random.default_rng((seed, first_row + i)).random(width) for i in range(len(rows))]
    chosen = (np.stack(draws) < mask_ratio) & (rows != EOD) & (rows != PAD)
    return _batch(np.where(chosen, np.uint8(MASK), rows), rows, chosen)


def _batch(
    inputs: NDArray[np.uint8], labels: NDArray[np.uint8], loss_mask: NDArray[np.bool_]
) -> Batch:
    rows, length = inputs.shape
    return Batch(
        inputs=torch.from_numpy(inputs.astype(np.int64)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        loss_mask=torch.from_numpy(loss_mask.astype(np.float32)),
        positions=torch.arange(length).expand(rows, -1),
        segments=Segments.of(*_with_padding(inputs)),
    )


def _with_padding(rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat start and length of the segments and of the padding: attention covers every position."""
    starts, lengths = segment_bounds(rows)
    row_edges = np.arange(len(rows) + 1) * rows.shape[1]
    edges = np.unique(np.concatenate([starts, starts + lengths, row_edges]))
    return edges[:-1], np.diff(edges)
