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

from plm_scaling.train.model.attention import SegmentAttention, flash_takes
from plm_scaling.train.model.functions import RmsNorm
from plm_scaling.train.model.fused import apply_rotary
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
    norm = MarkedLayerNorm if config.normalization == "LayerNorm" else MarkedRmsNorm
    return Parts(ColumnLinear, RowLinear, norm, SegmentAttention)


def implementation(backend: str, precision: str, channels: int) -> str:
    """`transformer_engine` or `local`, for `TransformerConfig.transformer_impl`.

    Transformer Engine's attention within packed sequences is for half precision, by flash kernels.
    """
    if backend == "cpu" or precision != "bf16" or not flash_takes(channels):
        return "local"
    has_engine = importlib.util.find_spec("transformer_engine") is not None
    return "transformer_engine" if has_engine else "local"


class AddsBias:
    """Mixed into a linear layer: it adds its bias itself, along with its matrix product."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **(options | {"skip_bias_add": False}))


class OwnLinear(AddsBias):
    """Mixed into a linear layer: without megatron-core's autograd function, which adds the bias
    later, in one process."""

    def forward(self, input_: Tensor) -> tuple[Tensor, None]:
        """The output, and None for a bias that is still to be added."""
        if self.tp_group.size() > 1:  # type: ignore[attr-defined]
            result: tuple[Tensor, None] = super().forward(input_)  # type: ignore[misc]
            return result
        return linear(input_, self.weight, self.bias), None  # type: ignore[attr-defined]


class ColumnLinear(OwnLinear, ColumnParallelLinear):
    """[tokens, 1, inputs] → [tokens, 1, outputs of this process]; a pair with None."""


class RowLinear(OwnLinear, RowParallelLinear):
    """[tokens, 1, inputs of this process] → [tokens, 1, outputs]; a pair with None."""


class MarksParameters:
    """Mixed into a norm for sequence parallelism: each process sees a part of the tokens, and
    gradients of parameters that are marked are summed. megatron-core's own norms refuse it.
    """

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float) -> None:
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype)  # type: ignore[call-arg]
        for parameter in self.parameters():  # type: ignore[attr-defined]
            parameter.sequence_parallel = config.sequence_parallel


class MarkedLayerNorm(MarksParameters, torch.nn.LayerNorm):
    """LayerNorm over `hidden_size` channels."""


class MarkedRmsNorm(MarksParameters, torch.nn.RMSNorm):
    """RMSNorm over `hidden_size` channels."""

    def forward(self, x: Tensor) -> Tensor:
        """On the CPU with a gradient that is written out."""
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
            q, k, v = apply_rotary(qkv, *segments.rotary(qkv.shape[-1], qkv.dtype))
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
