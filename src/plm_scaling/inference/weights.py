"""Weights of a megatron-core model under the names and in the order of `transformers`."""

from collections.abc import Mapping

from torch import Tensor

from plm_scaling.common.errors import InferenceError
from plm_scaling.study.shapes import Shape

_LAYER = "decoder.layers."
# megatron-core's name within a layer → ours, where a matrix is one matrix on both sides.
_SAME = {
    "input_layernorm": "input_layernorm",
    "pre_mlp_layernorm": "post_attention_layernorm",
    "self_attention.q_layernorm": "self_attn.q_norm",
    "self_attention.k_layernorm": "self_attn.k_norm",
    "self_attention.linear_proj": "self_attn.o_proj",
    "mlp.linear_fc2": "mlp.down_proj",
}
_WHOLE = {
    "embedding.word_embeddings": "model.embed_tokens",
    "decoder.final_layernorm": "model.norm",
}


def hf_weights(state: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The state of a whole (not divided) model of `shape`, with the names of Qwen3 in transformers.

    megatron-core groups the rows of `linear_qkv` by head, [q, k, v] each, and joins gate and up
    projection in `linear_fc1`. Input and output embeddings are tied, so there is one. Raises
    `InferenceError` for a weight that is not known.
    """
    result = {}
    for name, value in state.items():
        if name.endswith("_extra_state"):  # of Transformer Engine: scales for fp8, not weights
            continue
        module, _, kind = name.rpartition(".")
        if module in _WHOLE:
            result[f"{_WHOLE[module]}.{kind}"] = value
            continue
        number, _, within = module.removeprefix(_LAYER).partition(".")
        layer = f"model.layers.{number}"
        if within in _SAME:
            result[f"{layer}.{_SAME[within]}.{kind}"] = value
        elif within == "self_attention.linear_qkv":
            by_head = value.unflatten(0, (shape.heads, 3, shape.hidden // shape.heads))
            for letter, part in zip("qkv", by_head.unbind(1), strict=True):
                result[f"{layer}.self_attn.{letter}_proj.{kind}"] = part.flatten(0, 1).contiguous()
        elif within == "mlp.linear_fc1":
            for half, part in zip(("gate", "up"), value.chunk(2), strict=True):
                result[f"{layer}.mlp.{half}_proj.{kind}"] = part.contiguous()
        else:
            raise InferenceError(f"no place for weight {name} in the exported model")
    return result
