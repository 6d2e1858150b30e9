"""A trained cell as a folder that `transformers` loads, without this project."""

import importlib.resources
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import atomic, sha256_of, write_json
from plm_scaling.inference.card import model_card
from plm_scaling.inference.run import find_run, open_run
from plm_scaling.inference.tokenizer import RELEASED_ORDER, tokenizer_config, tokenizer_json
from plm_scaling.inference.weights import hf_weights
from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import VOCABULARY_SIZE
from plm_scaling.tokens.format.vocabulary import EOD, PAD, RESIDUE_ID, RESIDUES

CODE = ("configuration_plm_scaling", "modeling_plm_scaling")
HEADS = {"clm": "CausalLM", "mlm": "MaskedLM"}
NORM_EPS = 1e-5
ROTARY_BASE = 10000.0


def export_cell(cell: str, out: Path, threads: int, released_order: bool = False) -> None:
    """Write the folder `out` with the run of `cell` for `transformers`.

    It holds weights (fp32, safetensors), configuration, tokenizer, model card and, where no class
    of transformers fits, the code of the model. `released_order`: token ids as in the models that
    the study released. Raises `InferenceError` if `out` exists, or the run did not finish.
    """
    letters = RELEASED_ORDER if released_order else RESIDUES
    if out.exists():
        raise InferenceError(f"{out} exists; remove it or give a folder that is to be made")
    with open_run(find_run(cell), threads, device="cpu") as run, atomic(out) as folder:
        folder.mkdir()
        state = {name: value for name, value in run.model.state_dict().items() if value is not None}
        tensors = hf_weights(state, run.cell.shape)
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
                with importlib.resources.as_file(code / f"{name}.py") as path:
                    shutil.copyfile(path, folder / f"{name}.py")
        card = model_card(run.cell, run.record, sha256_of(weights))
        (folder / "README.md").write_text(card)


def fits_qwen3(cell: Cell) -> bool:
    """Whether transformers' Qwen3 is exactly the cell's model.

    It is for the `prenorm` recipe and next tokens: RMSNorm, SwiGLU, rotary positions, no biases,
    RMSNorm on each head's queries and keys (which Llama lacks), tied embeddings.
    """
    return cell.recipe == "prenorm" and cell.objective == "clm"


def _settings(cell: Cell, letters: str) -> dict[str, Any]:
    """The JSON files of the export by name."""
    settings = {
        "config.json": hf_config(cell),
        "tokenizer.json": tokenizer_json(cell.objective, letters),
        "tokenizer_config.json": tokenizer_config(cell.objective, cell.context_length),
    }
    if cell.objective == "clm":
        kept = {*RESIDUE_ID.values(), EOD}
        settings["generation_config.json"] = {
            "do_sample": True,
            "max_length": cell.context_length,
            "eos_token_id": EOD,
            "pad_token_id": PAD,
            "suppress_tokens": [t for t in range(VOCABULARY_SIZE) if t not in kept],
        }
    return settings


def hf_config(cell: Cell) -> dict[str, Any]:
    """config.json."""
    head = HEADS[cell.objective]
    common = {
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": cell.hidden,
        "intermediate_size": cell.ffn,
        "num_hidden_layers": cell.layers,
        "num_attention_heads": cell.heads,
        "max_position_embeddings": cell.context_length,
        "rope_theta": ROTARY_BASE,
        "initializer_range": cell.init_std,
        "tie_word_embeddings": True,
        "pad_token_id": PAD,
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
