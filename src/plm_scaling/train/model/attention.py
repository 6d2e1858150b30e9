"""Attention within each packed sequence: never across a border, without masks.

megatron-core's own `DotProductAttention` needs CUDA, has no packed sequences and stores the whole
score matrix.
"""

import inspect
import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plm_scaling.train.model.functions import RotaryAttention
from plm_scaling.train.model.fused import apply_rotary
from plm_scaling.train.model.segments import Segments

logger = logging.getLogger("plm_scaling")
MAX_FLASH_CHANNELS = 256


class SegmentAttention(MegatronModule):
    """`core_attention` by PyTorch's kernels: on CUDA in half precision one for all segments, else
    segments of equal length together.
    """

    def __init__(
        self, config: TransformerConfig, attn_mask_type: AttnMaskType, **unused: Any
    ) -> None:
        super().__init__(config=config)
        self.causal = attn_mask_type == AttnMaskType.causal

    def forward(self, qkv: Tensor, segments: Segments) -> Tensor:
        """[tokens, heads, 3, channels] → [tokens, heads, channels]."""
        if qkv.is_cpu:
            attended: Tensor = RotaryAttention.apply(qkv, segments, self.causal)
            return attended
        q, k, v = apply_rotary(qkv, *segments.rotary(qkv.shape[-1], qkv.dtype))
        varlen = varlen_attention(self.causal)
        if varlen is None or qkv.dtype == torch.float32 or not flash_takes(qkv.shape[-1]):
            return grouped_attention(q, k, v, segments, self.causal)
        edges, longest = segments.edges, segments.longest
        return varlen(q, k, v, edges, edges, longest, longest)


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments, causal: bool) -> Tensor:
    """softmax(q·kᵀ/√channels)·v of [tokens, heads, channels] within each segment."""
    sizes = [n * length for n, length in segments.groups]
    attended = []
    for group, *parts in zip(segments.groups, *(x.split(sizes) for x in (q, k, v)), strict=True):
        own_q, own_k, own_v = (part.unflatten(0, group).transpose(1, 2) for part in parts)
        out = scaled_dot_product_attention(own_q, own_k, own_v, is_causal=causal)
        attended.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)


@lru_cache
def flash_takes(channels: int) -> bool:
    """Whether flash kernels take heads of so many channels; says so once if they do not."""
    takes = channels % 8 == 0 and channels <= MAX_FLASH_CHANNELS
    if not takes:
        logger.warning(
            "heads of %d channels: flash attention takes multiples of 8 up to %d; attention by "
            "groups of equal length is slower. Other heads: sweep.shapes",
            *(channels, MAX_FLASH_CHANNELS),
        )
    return takes


@lru_cache(maxsize=2)
def varlen_attention(causal: bool) -> Callable[..., Any] | None:
    """PyTorch's flash attention for sequences of any length; None if it has none (before 2.10)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    option: dict[str, Any] = {"window_size": (-1, 0 if causal else -1)}
    if "is_causal" in inspect.signature(varlen_attn).parameters:  # until 2.10
        option = {"is_causal": causal}
    return partial(varlen_attn, **option)
