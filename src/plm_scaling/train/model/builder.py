"""One builder for both recipes and objectives: megatron-core's `GPTModel`.

`plm_scaling.study.shapes` gives the parameter counts of exactly these models.
"""

from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel.random import initialize_rng_tracker
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import gelu, linear, silu

from plm_scaling.common.errors import TrainError
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.mup import scales_of
from plm_scaling.study.shapes import VOCABULARY_SIZE
from plm_scaling.train.model.initial_weights import initialise
from plm_scaling.train.model.layers import layers_of
from plm_scaling.train.model.modules import implementation
from plm_scaling.train.model.segments import Segments


class SequenceModel(GPTModel):
    """`GPTModel` over one list of tokens (see `Segments`)."""

    ffn: int
    """Width of the MLP; `config.ffn_hidden_size` is that with its padding (see `Layout.ffn`)."""
    logit_scale: float
    """What the product of final states and embeddings is multiplied by (muP); else 1."""

    def forward(self, tokens: Tensor, segments: Segments) -> Tensor:
        """Tokens [tokens] (read by the first stage) → logits [tokens, 1, vocabulary or this
        process's part of it] in the last stage, else hidden states [tokens, 1, hidden].
        """
        hidden = None
        if self.pre_process:
            hidden = self.embedding(input_ids=tokens[None], position_ids=None)
        hidden = self.decoder(hidden, attention_mask=None, packed_seq_params=segments)
        if not self.post_process:
            return hidden
        table = self.shared_embedding_or_output_weight()
        # Without megatron-core's autograd function; but in a pipeline the last stage has a table of
        # its own, and replicas' hooks wait for it where the module is called.
        if self.pre_process and self.pg_collection.tp.size() == 1:
            logits = linear(hidden, table)
        else:
            logits = self.output_layer(hidden, weight=table)[0]
        return logits if self.logit_scale == 1.0 else logits * self.logit_scale


def build_model(
    cell: Cell,
    layout: Layout | None = None,
    *,
    device: torch.device | str = "cpu",
    initial_weights: bool = True,
) -> SequenceModel:
    """This process's part of the cell's model with its initial weights, or with any
    (`initial_weights` False), where others are read at once; `layout` None is one CPU process.

    megatron-core's model-parallel groups must be initialised: they say which pipeline stage and
    which part of each matrix it is. The only difference between the objectives is the attention
    mask, so that weights move from one to the other. On the device `meta` nothing is allocated.
    Weights are bfloat16 on the cuda backend if the cell's precision says so; on the CPU they are
    always float32, since arithmetic in bfloat16 is many times slower there. Raises `TrainError`
    when heads have an odd number of channels. `check_layout` says whether the layout divides it.
    """
    layout = layout or Layout("cpu", 1, 1, 1, cell.batch_rows, "none")
    if cell.hidden % (2 * cell.heads):
        raise TrainError(
            f"cell {cell.cell} ({cell.size}): width {cell.hidden} over {cell.heads} heads gives no "
            "even number of channels, as rotary positions need; change sweep.shapes"
        )
    is_meta = torch.device(device).type == "meta"
    with torch.device("meta" if is_meta else "cpu"):
        config, scales = _config(cell, layout), scales_of(cell)
        model = SequenceModel(
            config=config,
            transformer_layer_spec=layers_of(config, cell.objective == "clm", scales.queries),
            vocab_size=VOCABULARY_SIZE,
            max_sequence_length=cell.context_length,
            position_embedding_type="none",  # attention rotates queries and keys itself
            share_embeddings_and_output_weights=True,
            parallel_output=True,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
        )
    model.ffn, model.logit_scale = cell.ffn, scales.logits
    if config.sequence_parallel:
        # megatron-core keeps CUDA generators of its own for dropout there; nothing is drawn here
        initialize_rng_tracker(inference_rng_tracker=True, force_reset=True)
    if initial_weights and not is_meta:
        initialise(model, cell)
    return model.to(device)


def _config(cell: Cell, layout: Layout) -> TransformerConfig:
    study = cell.recipe == "study"
    cuda = layout.backend == "cuda"
    dtype = torch.bfloat16 if cuda and cell.precision == "bf16" else torch.float32
    recompute: dict[str, Any] = {}
    if layout.recompute == "full":
        recompute = {
            "recompute_granularity": "full",
            "recompute_method": "uniform",
            "recompute_num_layers": 1,
        }
    return TransformerConfig(
        num_layers=cell.layers,
        hidden_size=cell.hidden,
        ffn_hidden_size=layout.tensor * layout.ffn(cell),
        num_attention_heads=cell.heads,
        gated_linear_unit=True,
        activation_func=gelu if study else silu,
        normalization="LayerNorm" if study else "RMSNorm",
        layernorm_epsilon=1e-5,
        add_bias_linear=study,
        qk_layernorm=not study,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        transformer_impl=implementation(layout.backend, cell.precision, cell.hidden // cell.heads),
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        sequence_parallel=cuda and layout.tensor > 1,
        bf16=dtype == torch.bfloat16,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        # `initialise` draws the weights, on the CPU; megatron-core only marks how they are divided
        use_cpu_initialization=True,
        init_method=_keep,
        output_layer_init_method=_keep,
        # these need kernels that are not in torch, or lower the gradient to bfloat16
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        **recompute,
    )


def _keep(weight: Tensor) -> Tensor:
    return weight
