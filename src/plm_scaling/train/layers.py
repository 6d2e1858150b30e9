"""The transformer layer of the `study` recipe."""

from typing import Any

from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor


class DeepNormLayer(TransformerLayer):
    """Post-LN with DeepNorm: a = LN1(x); y = α·a + Attn(a); m = LN2(y); α·m + MLP(m)."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Any = None,
        rotary_pos_emb: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """hidden_states [tokens, rows, hidden] → the same shape; no cross attention context."""
        alpha = (2.0 * self.config.num_layers) ** 0.5
        normed = self.input_layernorm(hidden_states)
        output, bias = self.self_attention(
            normed, attention_mask=attention_mask, rotary_pos_emb=rotary_pos_emb
        )
        normed = self.pre_mlp_layernorm(alpha * normed + (output + bias))
        output, bias = self.mlp(normed)
        return alpha * normed + (output + bias), None
