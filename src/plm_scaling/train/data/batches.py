"""From rows of tokens to what a model is trained on: inputs, labels, loss mask, segments."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plm_scaling.study.cell import Cell
from plm_scaling.tokens.format.packing import segment_bounds
from plm_scaling.tokens.format.vocabulary import PAD
from plm_scaling.train.data.masking import MASKINGS
from plm_scaling.train.model.segments import Segments


@dataclass(frozen=True)
class Batch:
    """`inputs` and `labels` [rows, context_length] int64, `loss_mask` of that shape in {0, 1}."""

    inputs: Tensor
    labels: Tensor
    loss_mask: Tensor
    segments: Segments

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; without waiting for it if it is pinned."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return Batch(**moved)

    def pinned(self) -> "Batch":
        """The batch in memory that a GPU reads by itself."""
        return Batch(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


def batch_of(cell: Cell, rows: NDArray[np.uint8], first_row: int) -> Batch:
    """What the cell's model learns from `rows` [n, context_length]; `first_row` is the index of the
    first one in the run, on which its masks depend.
    """
    if cell.masking is None or cell.mask_ratio is None:
        return causal_batch(rows, cell.document_mask, cell.positions)
    masks = cell.masking, cell.mask_ratio, cell.seed
    return masked_batch(rows, first_row, *masks, cell.document_mask, cell.positions)


def causal_batch(rows: NDArray[np.uint8], *segmented: Any) -> Batch:
    """Next-token prediction within each sequence; its eod is the last label, and its first residue
    one where a start token stands before it.

    `segmented`: how `Segments.of_rows` takes the rows.
    """
    labels = np.roll(rows, -1, axis=1)
    starts, lengths = segment_bounds(rows)
    loss_mask = rows != PAD
    loss_mask.flat[starts + lengths - 1] = False  # nothing follows a segment's last token
    return _batch(rows, labels, loss_mask, *segmented)


def masked_batch(
    rows: NDArray[np.uint8],
    first_row: int,
    masking: str,
    mask_ratio: float,
    seed: int,
    *segmented: Any,
) -> Batch:
    """Prediction of the residues that `plm_scaling.train.data.masking` chooses."""
    seen, chosen = MASKINGS[masking](rows, first_row, mask_ratio, seed)
    return _batch(seen, rows, chosen, *segmented)


def _batch(
    inputs: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    loss_mask: NDArray[np.bool_],
    *segmented: Any,
) -> Batch:
    return Batch(
        inputs=torch.from_numpy(inputs.astype(np.int64)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        loss_mask=torch.from_numpy(loss_mask.astype(np.float32)),
        segments=Segments.of_rows(inputs, *segmented),
    )
