"""The study's released models (proteinglm, xTrimoPGLM) as weights of the `study` recipe.

They are the same network under other names. Rows of `query_key_value` are grouped by head,
[q, k, v] each, as megatron-core groups them. Their GEGLU gates with the second half of
`dense_h_to_4h`, x₁·gelu(x₂), ours with the first: the halves change places. Letters have other ids,
and what ends a protein is `<eos>` (34), here eod (31). Scaling of queries and keys by the
layer's number cancels. Sources: the authors' pre-training code (github.com/ONERAI/xTrimoPGLM,
history, pretrain/) and the modelling code of the released models, as far as others have published
copies of it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.folder import check_names
from plm_scaling.inference.models.proteinglm_description import ROWS
from plm_scaling.train.model.segments import ROTARY_BASE

_WHOLE = {
    "embedding.word_embeddings": "embedding.word_embeddings",
    "encoder.final_layernorm": "decoder.final_layernorm",
}
_OF_LAYER = {
    "input_layernorm": "input_layernorm",
    "self_attention.query_key_value": "self_attention.linear_qkv",
    "self_attention.dense": "self_attention.linear_proj",
    "post_attention_layernorm": "pre_mlp_layernorm",
    "mlp.dense_h_to_4h": "mlp.linear_fc1",
    "mlp.dense_4h_to_h": "mlp.linear_fc2",
}
_LAYER = re.compile(r"transformer\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OUTPUT = "transformer.output_layer."
_FREQUENCIES = ".rotary_emb.inv_freq"


def converted(
    folder: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Their weights with the names, shapes and order of ours, one after the other; `wanted` are
    ours by name.

    Raises `InferenceError` if one is missing, left over or of another shape, or if the output layer
    is not the embedding, to which the study ties it.
    """
    found = {}
    for name, value in tensors.items():
        if name.endswith(_FREQUENCIES) or name.startswith(_OUTPUT):
            continue
        found[_our_name(name)] = value
    check_names(folder, found, wanted)
    for name, value in sorted(found.items()):
        if value.shape != wanted[name].shape:
            raise InferenceError(
                f"{folder}: {name} is {[*value.shape]}, by config.json {[*wanted[name].shape]}; "
                "download the whole folder again"
            )
    table = found["embedding.word_embeddings.weight"]
    output, bias = (tensors.get(f"{_OUTPUT}{kind}") for kind in ("weight", "bias"))
    untied = output is not None and not torch.equal(output, table)
    if untied or (bias is not None and bool(bias.any())):
        raise InferenceError(
            f"{folder}: its output layer is not its embedding, to which the study's is tied; such "
            "a model cannot be a run"
        )
    return ((name, _in_order(name, value)) for name, value in found.items())


def rounding_of_angles(tensors: dict[str, Tensor], context_length: int) -> float:
    """By how many radians rotary angles at the end of the context differ from exact ones, at most:
    0 where no frequencies are stored with the weights."""
    deviations = [0.0]
    for name, value in tensors.items():
        if name.endswith(_FREQUENCIES):
            channels = 2 * len(value)
            exact = ROTARY_BASE ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
            deviations.append(float((value.double() - exact).abs().max()) * (context_length - 1))
    return max(deviations)


def _our_name(name: str) -> str:
    whole, _, kind = name.removeprefix("transformer.").rpartition(".")
    if whole in _WHOLE:
        return f"{_WHOLE[whole]}.{kind}"
    found = _LAYER.fullmatch(name)
    if found and found[2] in _OF_LAYER:
        return f"decoder.layers.{found[1]}.{_OF_LAYER[found[2]]}.{found[3]}"
    return name


def _in_order(name: str, value: Tensor) -> Tensor:
    if name == "embedding.word_embeddings.weight":
        return value[ROWS]
    if ".mlp.linear_fc1." in name:
        return torch.cat(value.chunk(2)[::-1])
    return value
