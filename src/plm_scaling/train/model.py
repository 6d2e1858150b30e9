"""One builder for both objectives: megatron-core's `GPTModel`, causal (CLM) or not (MLM).

LayerNorm before attention and MLP, GEGLU, rotary positions, biases, tied embeddings, no dropout:
`plm_scaling.sweep.ladder` gives the parameter count of exactly this model.
"""

from functools import lru_cache

import torch
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from plm_scaling.sweep.ladder import Shape
from plm_scaling.train.attention import SegmentAttention


class CpuRotaryEmbedding(RotaryEmbedding):
    """Rotary positions on the CPU; megatron-core 0.16.1 moves their frequencies to CUDA."""

    @lru_cache(maxsize=4)  # noqa: B019  one instance lives as long as its model
    def get_emb(self, max_seq_len: int, offset: int = 0) -> Tensor:
        """Angles [max_seq_len, 1, 1, channels]."""
        frequencies = self.get_freqs_non_repeated(max_seq_len, offset)
        return torch.cat((frequencies, frequencies), dim=-1)[:, None, None, :]


def contiguous_gelu(x: Tensor) -> Tensor:
    """GELU of a copy: megatron-core passes half of a wider tensor, which takes much longer."""
    return torch.nn.functional.gelu(x.contiguous())


def build_model(
    shape: Shape, objective: str, context_length: int, vocabulary_size: int, init_std: float
) -> GPTModel:
    """Build the model on the CPU from the current torch seed.

    megatron-core's model-parallel groups must be initialised. `objective` is `clm` or `mlm`; the
    only difference in the model is the attention mask, so that weights move from one to the other.
    """
    config = TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.ffn,
        num_attention_heads=shape.heads,
        gated_linear_unit=True,
        activation_func=contiguous_gelu,
        normalization="LayerNorm",
        layernorm_epsilon=1e-5,
        add_bias_linear=True,
        add_qkv_bias=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        init_method_std=init_std,
        use_cpu_initialization=True,
        # these need CUDA or a compiler, or lower the gradient to bf16
        persist_layer_norm=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
    )
    spec: ModuleSpec = get_gpt_layer_local_spec()
    mask = AttnMaskType.causal if objective == "clm" else AttnMaskType.no_mask
    spec.submodules.self_attention.params["attn_mask_type"] = mask
    spec.submodules.self_attention.submodules.core_attention = SegmentAttention
    model = GPTModel(
        config=config,
        transformer_layer_spec=spec,
        vocab_size=vocabulary_size,
        max_sequence_length=context_length,
        position_embedding_type="rope",
        share_embeddings_and_output_weights=True,
        parallel_output=True,
    )
    model.rotary_pos_emb = CpuRotaryEmbedding(
        kv_channels=config.kv_channels, rotary_percent=1.0, use_cpu_initialization=True
    )
    return model
