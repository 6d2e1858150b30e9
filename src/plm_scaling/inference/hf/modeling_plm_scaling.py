"""Protein language models trained with plm-scaling, for `transformers`.

Needs torch 2.4 or later. Attention is PyTorch's scaled dot product attention; it falls back to
explicit weights where `output_attentions` asks for them.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention, silu
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    MaskedLMOutput,
)

from .configuration_plm_scaling import PlmScalingConfig


def rotary_angles(positions: Tensor, channels: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [rows, 1, length, channels] in fp32; the halves of a head are rotated."""
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=positions.device)
    angles = positions[:, None, :, None].float() / base ** (exponents / channels)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Queries or keys [rows, heads, length, channels], rotated by their positions."""
    first, second = states.chunk(2, dim=-1)
    rotated_half = torch.cat((-second, first), dim=-1)
    return states * cosine.to(states.dtype) + rotated_half * sine.to(states.dtype)


def visible_positions(
    causal: bool, attention_mask: Tensor | None, length: int, before: int, device: torch.device
) -> Tensor | None:
    """Which positions each one sees, bool [rows or 1, 1, length, before + length].

    None stands for all (`mlm`) or, with nothing `before`, for all that precede (`clm`).
    `attention_mask` [rows, before + length] is 0 at padding. A padded position sees itself, as a
    softmax over nothing would be NaN.
    """
    if attention_mask is not None and attention_mask.dim() != 2:
        raise ValueError("attention_mask must have two dimensions: rows and positions")
    padded = attention_mask is not None and not bool(attention_mask.all())
    if not padded and (not causal or before == 0):
        return None
    query = torch.arange(before, before + length, device=device)[:, None]
    key = torch.arange(before + length, device=device)[None, :]
    visible = (key <= query if causal else torch.ones_like(key <= query))[None, None]
    if padded and attention_mask is not None:
        visible = visible & attention_mask[:, None, None, :].bool()
        visible = visible | (key == query)
    return visible


def _norm(config: PlmScalingConfig, width: int) -> nn.Module:
    kind = nn.LayerNorm if config.recipe == "study" else nn.RMSNorm
    return kind(width, eps=config.norm_eps)


class PlmScalingAttention(nn.Module):
    """softmax(q·kᵀ/√channels)·v with rotary positions."""

    def __init__(self, config: PlmScalingConfig, layer_idx: int) -> None:
        super().__init__()
        width, biased = config.hidden_size, config.recipe == "study"
        self.layer_idx = layer_idx
        self.causal = config.objective == "clm"
        self.channels = width // config.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=biased)
        self.k_proj = nn.Linear(width, width, bias=biased)
        self.v_proj = nn.Linear(width, width, bias=biased)
        self.o_proj = nn.Linear(width, width, bias=biased)
        self.normed = config.recipe == "prenorm"
        if self.normed:
            self.q_norm = _norm(config, self.channels)
            self.k_norm = _norm(config, self.channels)

    def forward(
        self,
        states: Tensor,
        angles: tuple[Tensor, Tensor],
        visible: Tensor | None,
        cache: Any,
        weights_wanted: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """states [rows, length, width] → the same, and weights [rows, heads, length, seen]."""
        rows, length, width = states.shape

        def heads(projected: Tensor) -> Tensor:
            return projected.view(rows, length, -1, self.channels)

        query, key = heads(self.q_proj(states)), heads(self.k_proj(states))
        if self.normed:
            query, key = self.q_norm(query), self.k_norm(key)
        query = rotate(query.transpose(1, 2), *angles)
        key = rotate(key.transpose(1, 2), *angles)
        value = heads(self.v_proj(states)).transpose(1, 2)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        weights = None
        if weights_wanted:
            scores = query @ key.transpose(2, 3) / math.sqrt(self.channels)
            if visible is None and self.causal:
                visible = torch.ones_like(scores, dtype=torch.bool).tril()
            if visible is not None:
                scores = scores.masked_fill(~visible, float("-inf"))
            weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
            attended = weights @ value
        else:
            attended = scaled_dot_product_attention(
                query, key, value, attn_mask=visible, is_causal=self.causal and visible is None
            )
        return self.o_proj(attended.transpose(1, 2).reshape(rows, length, width)), weights


class PlmScalingMLP(nn.Module):
    """GEGLU with the exact GELU (`study`) or SwiGLU (`prenorm`)."""

    def __init__(self, config: PlmScalingConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        biased = config.recipe == "study"
        self.gate_proj = nn.Linear(width, inner, bias=biased)
        self.up_proj = nn.Linear(width, inner, bias=biased)
        self.down_proj = nn.Linear(inner, width, bias=biased)
        self.activation = gelu if config.recipe == "study" else silu

    def forward(self, states: Tensor) -> Tensor:
        """states [rows, length, width] → the same."""
        gated: Tensor = self.activation(self.gate_proj(states)) * self.up_proj(states)
        projected: Tensor = self.down_proj(gated)
        return projected


class PlmScalingLayer(nn.Module):
    """`study`: x ← α·LN(x) + f(LN(x)) with α = √(2·layers); `prenorm`: x ← x + f(RMSNorm(x))."""

    def __init__(self, config: PlmScalingConfig, layer_idx: int) -> None:
        super().__init__()
        self.input_layernorm = _norm(config, config.hidden_size)
        self.self_attn = PlmScalingAttention(config, layer_idx)
        self.post_attention_layernorm = _norm(config, config.hidden_size)
        self.mlp = PlmScalingMLP(config)
        self.post_ln = config.recipe == "study"
        self.residual_scale = math.sqrt(2 * config.num_hidden_layers)

    def residual(self, states: Tensor, normed: Tensor) -> Tensor:
        """What a sublayer's output is added to."""
        return self.residual_scale * normed if self.post_ln else states

    def forward(self, states: Tensor, *others: Any) -> tuple[Tensor, Tensor | None]:
        """states [rows, length, width] → the same, and the attention weights; `others` as there."""
        normed = self.input_layernorm(states)
        attended, weights = self.self_attn(normed, *others)
        states = self.residual(states, normed) + attended
        normed = self.post_attention_layernorm(states)
        return self.residual(states, normed) + self.mlp(normed), weights


class PlmScalingPreTrainedModel(PreTrainedModel):
    config_class = PlmScalingConfig
    base_model_prefix = "model"
    _no_split_modules = ["PlmScalingLayer"]  # noqa: RUF012  as in the base class
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    supports_gradient_checkpointing = True

    def get_output_embeddings(self) -> nn.Module:
        """The embedding, which is the output layer as well."""
        return self.get_input_embeddings()


class PlmScalingModel(PlmScalingPreTrainedModel):
    """Tokens to hidden states. The last of `hidden_states` is after the final norm."""

    def __init__(self, config: PlmScalingConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            PlmScalingLayer(config, number) for number in range(config.num_hidden_layers)
        )
        self.norm = _norm(config, config.hidden_size)
        self.gradient_checkpointing = False  # `gradient_checkpointing_enable` sets it
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> Any:
        """Hidden states [rows, length, width] of `input_ids` [rows, length] or of embeddings."""
        config = self.config
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("give input_ids or inputs_embeds")
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache is None:
            use_cache = config.use_cache and not self.training
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        weights_wanted = bool(
            config.output_attentions if output_attentions is None else output_attentions
        )
        _, length, width = inputs_embeds.shape
        before = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        device = inputs_embeds.device
        if position_ids is None:
            position_ids = torch.arange(before, before + length, device=device)[None]
        channels = width // config.num_attention_heads
        angles = rotary_angles(position_ids, channels, config.rope_theta)
        causal = config.objective == "clm"
        visible = visible_positions(causal, attention_mask, length, before, device)
        states, kept, weights = inputs_embeds, [inputs_embeds], []
        for layer in self.layers:
            run: Any = layer
            if self.gradient_checkpointing and self.training:
                run = partial(self._gradient_checkpointing_func, layer.__call__)
            states, of_layer = run(states, angles, visible, past_key_values, weights_wanted)
            kept.append(states)
            weights.append(of_layer)
        kept[-1] = self.norm(states)
        output = BaseModelOutputWithPast(
            last_hidden_state=kept[-1],
            past_key_values=past_key_values if use_cache else None,
            hidden_states=tuple(kept) if output_hidden_states else None,
            attentions=tuple(weights) if weights_wanted else None,
        )
        return output.to_tuple() if return_dict is False else output


class _WithLogits(PlmScalingPreTrainedModel):
    """What the classes below share: hidden states to logits and a loss."""

    objective = ""

    def __init__(self, config: PlmScalingConfig) -> None:
        super().__init__(config)
        if config.objective != self.objective:
            raise ValueError(
                f"this model's objective is {config.objective!r}; {type(self).__name__} is for "
                f"{self.objective!r}"
            )
        self.model = PlmScalingModel(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Any,
    ) -> Any:
        """Logits [rows, length, vocabulary]; with `labels` (not shifted; −100 counts not) a loss.

        The loss is the mean over the predicted tokens or, given their number in all batches that
        `Trainer` accumulates (`num_items_in_batch`), their sum over it. Other arguments are those
        of `PlmScalingModel`.
        """
        return_dict = inputs.pop("return_dict", None)
        output = self.model(input_ids=input_ids, **inputs)
        logits = linear(output.last_hidden_state, self.model.embed_tokens.weight)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits, labels, self.config.vocab_size, num_items_in_batch=num_items_in_batch
            )
        result = CausalLMOutputWithPast(
            loss, logits, output.past_key_values, output.hidden_states, output.attentions
        )
        if self.objective == "mlm":
            result = MaskedLMOutput(loss, logits, output.hidden_states, output.attentions)
        return result.to_tuple() if return_dict is False else result


class PlmScalingForCausalLM(_WithLogits, GenerationMixin):
    """Next-token logits, for a model whose objective is `clm`."""

    objective = "clm"


class PlmScalingForMaskedLM(_WithLogits):
    """Logits of masked tokens, for a model whose objective is `mlm`."""

    objective = "mlm"
