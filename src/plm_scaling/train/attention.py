"""Attention within each packed sequence, by PyTorch's scaled dot product attention.

megatron-core's own `DotProductAttention` needs CUDA for its mask and buffers and stores the whole
[batch, heads, length, length] score matrix. Here the rows of a batch are split at the borders of
their sequences, sequences of equal length are attended to together, and nothing crosses a border.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Segments:
    """Where the sequences of a batch [rows, context_length] lie.

    `order` [tokens] lists the flat positions (row-major), grouped by segment length; `inverse`
    undoes it; `groups` holds (number of segments, their length in tokens) in the same order. They
    take the place of megatron-core's attention mask, which it hands to attention untouched.
    """

    order: Tensor
    inverse: Tensor
    groups: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Segments":
        """From the flat start and length of every segment; together they cover every position."""
        by_length = np.argsort(lengths, kind="stable")
        starts, lengths = starts[by_length], lengths[by_length]
        ends = np.cumsum(lengths)
        order = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        sizes, counts = np.unique(lengths, return_counts=True)
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        return cls(
            torch.from_numpy(order),
            torch.from_numpy(inverse),
            tuple(zip(counts.tolist(), sizes.tolist(), strict=True)),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Segments":
        """The segments on a device."""
        return Segments(
            self.order.to(device, non_blocking=non_blocking),
            self.inverse.to(device, non_blocking=non_blocking),
            self.groups,
        )


class SegmentAttention(MegatronModule):
    """`core_attention` of a megatron-core layer: softmax(q·kᵀ/√d)·v within each segment."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        **unused: Any,  # megatron-core passes options that only its own classes use
    ) -> None:
        super().__init__(config=config)
        self.causal = attn_mask_type == AttnMaskType.causal

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Segments, **unused: Any
    ) -> Tensor:
        """query, key, value [length, rows, heads, channels] → [length, rows, heads·channels]."""
        length, rows, heads, channels = query.shape

        def grouped(states: Tensor) -> list[Tensor]:
            flat = states.transpose(0, 1).reshape(rows * length, heads, channels)
            pieces = flat[attention_mask.order].split(
                [n * size for n, size in attention_mask.groups]
            )
            return [
                piece.view(n, size, heads, channels).transpose(1, 2)
                for piece, (n, size) in zip(pieces, attention_mask.groups, strict=True)
            ]

        attended = [
            scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            .transpose(1, 2)
            .reshape(-1, heads * channels)
            for q, k, v in zip(grouped(query), grouped(key), grouped(value), strict=True)
        ]
        flat = torch.cat(attended)[attention_mask.inverse]
        return flat.view(rows, length, heads * channels).transpose(0, 1).contiguous()
