"""Transformer layers of the two recipes, over one list of tokens [tokens, 1, hidden].

They are megatron-core's modules, so that its parallelism and checkpoints work on them, with forward
passes of their own: megatron-core's cater for many options, which takes longer than a small model's
arithmetic.
"""

from typing import Any

import torch
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import (
    TransformerBlockSubmodules,
    get_num_layers_to_build,
)
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor

from plm_scaling.train.model.fused import gated
from plm_scaling.train.model.modules import parts_of
from plm_scaling.train.model.segments import Segments


def layers_of(
    config: TransformerConfig, causal: bool, query_scale: float = 1.0
) -> TransformerBlockSubmodules:
    """The layers of this pipeline stage and the final norm; queries are multiplied by
    `query_scale` (muP)."""
    parts = parts_of(config)
    qk_norm = parts.norm if config.qk_layernorm else None
    layer = ModuleSpec(
        module=DeepNormLayer if config.normalization == "LayerNorm" else PreNormLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=parts.norm,
            self_attention=ModuleSpec(
                module=RotarySelfAttention,
                params={
                    "attn_mask_type": AttnMaskType.causal if causal else AttnMaskType.no_mask,
                    "query_scale": query_scale,
                },
                submodules=SelfAttentionSubmodules(
                    linear_qkv=parts.column,
                    core_attention=parts.core_attention,
                    linear_proj=parts.row,
                    q_layernorm=qk_norm,
                    k_layernorm=qk_norm,
                ),
            ),
            pre_mlp_layernorm=parts.norm,
            mlp=GatedMlp,
        ),
    )
    return TransformerBlockSubmodules(
        [layer] * get_num_layers_to_build(config), layer_norm=parts.norm
    )


class DeepNormLayer(TransformerLayer):
    """Recipe `study`: a = LN1(x); y = α·a + Attention(a); m = LN2(y); result α·m + MLP(m).

    α = (2·L)^(1/2) with L layers, as in GLM-130B (Zeng et al. 2022, arXiv:2210.02414); DeepNet's
    own is (2·L)^(1/4). The first layer's LN1 normalises the embeddings.
    """

    def forward(
        self, hidden_states: Tensor, packed_seq_params: Segments, **unused: Any
    ) -> tuple[Tensor, None]:
        """[tokens, 1, hidden] → the same shape; the None is megatron-core's context."""
        alpha = (2.0 * self.config.num_layers) ** 0.5
        normed = self.input_layernorm(hidden_states)
        attended = self.self_attention(normed, packed_seq_params)
        normed = self.pre_mlp_layernorm(torch.add(attended, normed, alpha=alpha))
        return torch.add(self.mlp(normed), normed, alpha=alpha), None


class PreNormLayer(TransformerLayer):
    """Recipe `prenorm`: y = x + Attention(RMSNorm1(x)); result y + MLP(RMSNorm2(y))."""

    def forward(
        self, hidden_states: Tensor, packed_seq_params: Segments, **unused: Any
    ) -> tuple[Tensor, None]:
        """[tokens, 1, hidden] → the same shape; the None is megatron-core's context."""
        normed = self.input_layernorm(hidden_states)
        hidden_states = hidden_states + self.self_attention(normed, packed_seq_params)
        return hidden_states + self.mlp(self.pre_mlp_layernorm(hidden_states)), None


class RotarySelfAttention(SelfAttention):
    """Queries, keys and values, their norm where the recipe has one, rotary positions, attention
    within segments, and the projection.
    """

    def __init__(self, *arguments: Any, query_scale: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.query_scale = query_scale

    def forward(self, hidden_states: Tensor, segments: Segments) -> Tensor:
        """[tokens, 1, hidden] → the same shape, bias included."""
        qkv, _ = self.linear_qkv(hidden_states)
        # Rows of the matrix are grouped by head: its query, its key, its value.
        qkv = qkv.view(qkv.shape[0], -1, 3, self.hidden_size_per_attention_head)
        if self.config.qk_layernorm:
            q, k, v = qkv.unbind(2)
            q = self.q_layernorm(q)
            if self.query_scale != 1.0:
                q = q * self.query_scale
            qkv = torch.stack((q, self.k_layernorm(k), v), 2)
        attended = self.core_attention(qkv, segments)
        output: Tensor = self.linear_proj(attended.flatten(1)[:, None])[0]
        return output


class GatedMlp(MLP):
    """fc2(act(gate)·up) with [gate; up] = fc1(x)."""

    def __init__(self, config: TransformerConfig) -> None:
        parts = parts_of(config)
        linears = MLPSubmodules(linear_fc1=parts.column, linear_fc2=parts.row)
        super().__init__(config, linears, ffn_hidden_size=config.ffn_hidden_size)
        self.activation = config.activation_func.__name__

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[tokens, 1, hidden] → the same shape, bias included."""
        gate_up, _ = self.linear_fc1(hidden_states)
        output: Tensor = self.linear_fc2(gated(gate_up, self.activation))[0]
        return output
