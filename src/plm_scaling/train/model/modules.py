"""What layers are built from: on CUDA Transformer Engine's modules if it is installed, else ours.

Both have the same parameters under the same names, so that a checkpoint fits either.
"""

import importlib.util
from typing import Any, NamedTuple

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import linear, rms_norm

from plm_scaling.train.model.attention import SegmentAttention
from plm_scaling.train.model.functions import RmsNorm
from plm_scaling.train.model.fused import rotated
from plm_scaling.train.model.segments import Segments


class Parts(NamedTuple):
    """Classes as megatron-core's specs want them."""

    column: type
    """Linear layer, rows of its matrix divided over the tensor-parallel processes."""
    row: type
    """Linear layer, columns divided."""
    norm: type
    """LayerNorm or RMSNorm by `config.normalization`."""
    core_attention: type
    """[tokens, heads, 3, channels] and `Segments` → [tokens, heads, channels]."""


def parts_of(config: TransformerConfig) -> Parts:
    """The parts that `config.transformer_impl` names."""
    if config.transformer_impl == "transformer_engine":
        return _transformer_engine()
    return Parts(ColumnLinear, RowLinear, Norm, SegmentAttention)


def implementation(backend: str) -> str:
    """`transformer_engine` or `local`, for `TransformerConfig.transformer_impl`."""
    has_engine = importlib.util.find_spec("transformer_engine") is not None
    return "transformer_engine" if backend == "cuda" and has_engine else "local"


class AddsBias:
    """Mixed into a linear layer: it adds its bias itself, along with its matrix product."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **(options | {"skip_bias_add": False}))


class ColumnLinear(AddsBias, ColumnParallelLinear):
    """[tokens, 1, inputs] → [tokens, 1, outputs of this process]; a pair with None."""

    def forward(self, input_: Tensor) -> tuple[Tensor, None]:
        """In one process without megatron-core's autograd function, which adds the bias later."""
        if self.tp_group.size() > 1:
            result: tuple[Tensor, None] = super().forward(input_)
            return result
        return linear(input_, self.weight, self.bias), None


class RowLinear(AddsBias, RowParallelLinear):
    """[tokens, 1, inputs of this process] → [tokens, 1, outputs]; a pair with None."""

    def forward(self, input_: Tensor) -> tuple[Tensor, None]:
        """See `ColumnLinear`."""
        if self.tp_group.size() > 1:
            result: tuple[Tensor, None] = super().forward(input_)
            return result
        return linear(input_, self.weight, self.bias), None


class Norm:
    """LayerNorm or RMSNorm, also for sequence parallelism, which megatron-core's refuses: each
    process sees a part of the tokens, and gradients of parameters that are marked are summed.
    """

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float) -> Any:
        """The module of PyTorch."""
        kind = torch.nn.LayerNorm if config.normalization == "LayerNorm" else _RmsNorm
        module = kind(hidden_size, eps=eps, dtype=config.params_dtype)
        for parameter in module.parameters():
            parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
        return module


class _RmsNorm(torch.nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return rms_norm(x, self.normalized_shape, self.weight, self.eps)
        result: Tensor = RmsNorm.apply(x, self.weight, self.eps)
        return result


def _transformer_engine() -> Parts:
    # Where it is not installed, megatron-core's module of these classes does without their bases.
    from megatron.core.extensions.transformer_engine import (
        TEColumnParallelLinear,
        TEDotProductAttention,
        TENorm,
        TERowParallelLinear,
    )

    class Column(AddsBias, TEColumnParallelLinear):
        pass

    class Row(AddsBias, TERowParallelLinear):
        pass

    class Attention(TEDotProductAttention):
        """With rotary positions, as `SegmentAttention`."""

        def forward(self, qkv: Tensor, segments: Segments) -> Tensor:
            q, k, v = rotated(qkv, *segments.rotary(qkv.shape[-1], qkv.dtype))
            packed = PackedSeqParams(
                qkv_format="thd",
                cu_seqlens_q=segments.edges,
                cu_seqlens_kv=segments.edges,
                max_seqlen_q=segments.longest,
                max_seqlen_kv=segments.longest,
            )
            attended: Tensor = super().forward(
                q, k, v, None, self.mask_type, packed_seq_params=packed
            )
            return attended.view(v.shape)

        def __init__(self, *arguments: Any, attn_mask_type: Any, **options: Any) -> None:
            super().__init__(*arguments, attn_mask_type=attn_mask_type, **options)
            self.mask_type = attn_mask_type

    return Parts(Column, Row, TENorm, Attention)
