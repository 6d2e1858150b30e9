"""A trained cell as a folder that `transformers` loads, without this project."""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import EXISTS, atomic, sha256_of, write_json
from plm_scaling.inference.card import model_card
from plm_scaling.inference.models.describe import CELL, describe
from plm_scaling.inference.tokenizer import (
    RELEASED_ORDER,
    prefix_of,
    tokenizer_config,
    tokenizer_json,
)
from plm_scaling.study.cell import Cell, ImportedCell
from plm_scaling.study.mup import scales_of
from plm_scaling.study.shapes import VOCABULARY_SIZE, Shape
from plm_scaling.tokens.format.vocabulary import EOD, PAD, RESIDUE_ID, RESIDUES, SOP

if TYPE_CHECKING:
    from torch import Tensor

CODE = ("configuration_plm_scaling", "modeling_plm_scaling")
HEADS = {"clm": "CausalLM", "mlm": "MaskedLM"}
NORM_EPS = 1e-5
ROTARY_BASE = 10000.0

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


def export_cell(cell: str, out: Path, threads: int, released_order: bool = False) -> None:
    """Write the folder `out` with the run of `cell` for `transformers`.

    It holds weights (fp32, safetensors), configuration, tokenizer, model card and, where no class
    of transformers fits, the code of the model. `released_order`: token ids as in the models that
    the study released. Raises `InferenceError` if `out` exists, or the run did not finish.
    """
    if out.exists():
        raise InferenceError(f"{out} {EXISTS}")
    found, described = describe(cell)
    if described.kind != CELL:
        raise InferenceError(
            f"{found} is no run but a public model, which transformers loads as it is; give a run"
        )
    letters = RELEASED_ORDER if released_order else RESIDUES
    from safetensors.torch import save_file  # PyTorch

    from plm_scaling.inference.run import open_run

    with open_run(found, threads, device="cpu") as run, atomic(out) as folder:
        folder.mkdir()
        state = {
            name: value for name, value in run.network.state_dict().items() if value is not None
        }
        tensors = _with_scales(hf_weights(state, run.cell.shape), run.cell)
        table = tensors["model.embed_tokens.weight"].clone()
        table[1 : 1 + len(letters)] = table[[RESIDUE_ID[letter] for letter in letters]]
        weights = folder / "model.safetensors"
        save_file(
            tensors | {"model.embed_tokens.weight": table}, weights, metadata={"format": "pt"}
        )
        for name, content in _settings(run.cell, letters).items():
            write_json(folder / name, content)
        shutil.copymode(folder / "config.json", weights)  # safetensors makes it private
        if not fits_qwen3(run.cell):
            code = importlib.resources.files("plm_scaling.inference") / "hf"
            for name in CODE:
                (folder / f"{name}.py").write_bytes((code / f"{name}.py").read_bytes())
        card = model_card(run.cell, run.record, sha256_of(weights))
        (folder / "README.md").write_text(card)


def _with_scales(tensors: dict[str, Tensor], cell: Cell) -> dict[str, Tensor]:
    """The weights with muP's factors on queries and logits, which other code does not know, in
    those of the norms before."""
    scales = scales_of(cell)
    by_end = {".self_attn.q_norm.weight": scales.queries, "model.norm.weight": scales.logits}
    for name, value in tensors.items():
        for end, scale in by_end.items():
            if name.endswith(end) and scale != 1.0:
                tensors[name] = value * scale
    return tensors


def fits_qwen3(cell: Cell) -> bool:
    """Whether transformers' Qwen3 is exactly the cell's model.

    It is for the `prenorm` recipe and next tokens: RMSNorm, SwiGLU, rotary positions, no biases,
    RMSNorm on each head's queries and keys (which Llama lacks), tied embeddings.
    """
    return cell.recipe == "prenorm" and cell.objective == "clm"


def _settings(cell: Cell, letters: str) -> dict[str, Any]:
    """The JSON files of the export by name."""
    context_length = cell.context_length
    settings = {
        "config.json": hf_config(cell),
        "tokenizer.json": tokenizer_json(cell.objective, letters, prefix_of(cell)),
        "tokenizer_config.json": tokenizer_config(cell.objective, context_length, cell.start_token),
    }
    if cell.objective == "clm":
        kept = {*RESIDUE_ID.values(), EOD}
        settings["generation_config.json"] = {
            "do_sample": True,
            "max_length": cell.context_length,
            **_begins(cell),
            "eos_token_id": EOD,
            "pad_token_id": PAD,
            "suppress_tokens": [t for t in range(VOCABULARY_SIZE) if t not in kept],
        }
    return settings


def _begins(cell: Cell) -> dict[str, int]:
    """What `generate` starts from without a prompt."""
    return {"bos_token_id": SOP} if cell.start_token else {}


def hf_config(cell: Cell) -> dict[str, Any]:
    head = HEADS[cell.objective]
    common = {
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": cell.hidden,
        "intermediate_size": cell.ffn,
        "num_hidden_layers": cell.layers,
        "num_attention_heads": cell.heads,
        "max_position_embeddings": cell.context_length,
        "rope_theta": ROTARY_BASE,
        **({} if isinstance(cell, ImportedCell) else {"initializer_range": cell.init_std}),
        "tie_word_embeddings": True,
        "pad_token_id": PAD,
        **_begins(cell),
        "eos_token_id": EOD,
        "dtype": "float32",
    }
    if fits_qwen3(cell):
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "num_key_value_heads": cell.heads,
            "head_dim": cell.hidden // cell.heads,
            "hidden_act": "silu",
            "rms_norm_eps": NORM_EPS,
            "attention_bias": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROTARY_BASE},
            **common,
        }
    configuration, modeling = CODE
    return {
        "architectures": [f"PlmScalingFor{head}"],
        "model_type": "plm_scaling",
        "auto_map": {
            "AutoConfig": f"{configuration}.PlmScalingConfig",
            "AutoModel": f"{modeling}.PlmScalingModel",
            f"AutoModelFor{head}": f"{modeling}.PlmScalingFor{head}",
        },
        "recipe": cell.recipe,
        "objective": cell.objective,
        "norm_eps": NORM_EPS,
        **common,
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
        number, _, within = module.removeprefix("decoder.layers.").partition(".")
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
