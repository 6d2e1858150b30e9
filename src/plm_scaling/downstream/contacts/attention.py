"""What attention maps say of contacts: symmetric, and less what is due to their rows and columns.

As Rao et al. (2021): of each head A + Aᵀ over the residues alone, then the average product
correction (APC; Dunn et al. 2008), row sum · column sum / sum.
"""

from collections.abc import Iterator

import numpy as np
import torch

from plm_scaling.inference.arrays import Floats
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import window_rows


def attention_features(model: Model, sequence: str) -> Iterator[Floats]:
    """Layer by layer the features [heads, residues, residues] of a sequence that is one window.

    Only one layer's maps are held. Raises `ValueError` for a sequence longer than the context.
    """
    lengths = np.array([len(sequence)])
    pieces = model.windows(lengths)
    if len(pieces.size) != 1:
        raise ValueError(f"{len(sequence)} residues are more than one window")
    rows = window_rows(model.tokens(sequence.encode() + b"\n\0"), pieces, np.array([0]))
    begin = int(pieces.before[0])
    residues = slice(begin, begin + len(sequence))
    for maps in model.attentions(rows, pieces.size):
        yield corrected(maps[0, :, residues, residues].float()).cpu().numpy()


def corrected(maps: torch.Tensor) -> torch.Tensor:
    """Maps [heads, residues, residues] made symmetric, with APC."""
    both = maps + maps.transpose(1, 2)
    sums = both.sum(2)
    total = sums.sum(1)[:, None, None]
    expected = sums[:, :, None] * sums[:, None, :] / total
    return both - torch.where(total > 0, expected, 0)
