"""One builder for both recipes and objectives: megatron-core's `GPTModel`.

`plm_scaling.sweep.ladder` gives the parameter counts of exactly these models.
"""

from functools import lru_cache

import torch
from megatron.core import parallel_state
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from plm_scaling.sweep.cells import Cell
from plm_scaling.sweep.ladder import VOCABULARY_SIZE
from plm_scaling.sweep.layout import Layout
from plm_scaling.train.attention import SegmentAttention
from plm_scaling.train.layers import DeepNormLayer


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
    cell: Cell, layout: Layout | None = None, *, device: torch.device | str = "cpu"
) -> GPTModel:
    """This process's part of the cell's model; `layout` is one CPU process if it is None.

    megatron-core's model-parallel groups must be initialised: they say which pipeline stage and
    which part of each matrix it is. The only difference between the objectives is the attention
    mask, so that weights move from one to the other. On the device `meta` nothing is allocated.
    """
    with torch.device(device):
        return _model(cell)


def _model(cell: Cell) -> GPTModel:
    study = cell.recipe == "study"
    config = TransformerConfig(
        num_layers=cell.layers,
        hidden_size=cell.hidden,
        ffn_hidden_size=cell.ffn,
        num_attention_heads=cell.heads,
        gated_linear_unit=True,
        activation_func=contiguous_gelu if study else torch.nn.functional.silu,
        normalization="LayerNorm" if study else "RMSNorm",
        layernorm_epsilon=1e-5,
        add_bias_linear=study,
        add_qkv_bias=study,
        qk_layernorm=not study,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        init_method_std=cell.init_std,
        use_cpu_initialization=True,
        # these need CUDA or a compiler, or lower the gradient to bf16
        persist_layer_norm=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
    )
    spec: ModuleSpec = get_gpt_layer_local_spec(
        qk_layernorm=not study, normalization=config.normalization
    )
    if study:
        spec.module = DeepNormLayer
        config.output_layer_init_method = config.init_method  # DeepNorm has its own scale
    mask = AttnMaskType.causal if cell.objective == "clm" else AttnMaskType.no_mask
    spec.submodules.self_attention.params["attn_mask_type"] = mask
    spec.submodules.self_attention.submodules.core_attention = SegmentAttention
    model = GPTModel(
        config=config,
        transformer_layer_spec=spec,
        vocab_size=VOCABULARY_SIZE,
        max_sequence_length=cell.context_length,
        position_embedding_type="rope",
        share_embeddings_and_output_weights=True,
        parallel_output=True,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
    )
    model.rotary_pos_emb = CpuRotaryEmbedding(
        kv_channels=config.kv_channels, rotary_percent=1.0, use_cpu_initialization=True
    )
    if study:
        _scale_for_deepnorm(model)
    return model


@torch.no_grad()
def _scale_for_deepnorm(model: GPTModel) -> None:
    """Multiply values, attention projection and MLP matrices by β = (2·L)^(-1/2)."""
    beta = (2.0 * model.config.num_layers) ** -0.5
    for layer in model.decoder.layers:
        attention, mlp = layer.self_attention, layer.mlp
        qkv = attention.linear_qkv.weight
        qkv.view(-1, 3, model.config.kv_channels, qkv.shape[1])[:, 2].mul_(beta)
        for linear in (attention.linear_proj, mlp.linear_fc1, mlp.linear_fc2):
            linear.weight.mul_(beta)
