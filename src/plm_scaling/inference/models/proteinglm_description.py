"""The study's released models (proteinglm, xTrimoPGLM): what the configuration in a folder says."""

from pathlib import Path
from typing import Any

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.folder import check_ids, config_values
from plm_scaling.inference.tokenizer import RELEASED_ORDER
from plm_scaling.study.shapes import VOCABULARY_SIZE, Shape
from plm_scaling.tokens.format.vocabulary import EOD, RESIDUE_ID, SPECIAL

EOS = SPECIAL["eos"]
# Row of their embedding for each of ours; nothing is lost, so that an export can go back.
ROWS = list(range(VOCABULARY_SIZE))
for _id, _letter in enumerate(RELEASED_ORDER, start=1):
    ROWS[RESIDUE_ID[_letter]] = _id
ROWS[EOD], ROWS[EOS] = EOS, EOD

# What the released configurations say, or leave to these defaults; anything else is another model.
SAME = {
    "rmsnorm": False,
    "deepnorm": True,
    "apply_residual_connection_post_layernorm": True,
    "post_layer_norm": True,
    "add_bias_linear": True,
    "multi_query_attention": False,
    "rotary_embedding_2d": False,
    "quantization_bit": 0,
    "moe": False,
    "glu_activation": "geglu",
    "layernorm_epsilon": 1e-5,
    "padded_vocab_size": VOCABULARY_SIZE,
}


def shape_of(folder: Path, config: dict[str, Any]) -> tuple[Shape, int]:
    """Shape and context length by config.json. Raises `InferenceError` for another network."""
    path = folder / "config.json"
    for key, value in SAME.items():
        if config.get(key, value) != value:
            raise InferenceError(
                f"{path}: key {key} is {config[key]!r}, in the study's models {value!r}; only "
                "those can be imported"
            )
    names = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "kv_channels")
    layers, hidden, ffn, heads, channels, context = config_values(
        folder, config, *names, "seq_length"
    )
    if heads * channels != hidden:
        raise InferenceError(
            f"{path}: {heads} heads of {channels} channels do not make the width {hidden}; only "
            "models whose heads do can be imported"
        )
    vocabulary = folder / "tokenizer.model"  # one token a line, whatever its name says
    if vocabulary.exists():
        lines = vocabulary.read_text(errors="replace").splitlines()
        found = {line.strip(): number for number, line in enumerate(lines)}
        letters = {letter: ROWS[RESIDUE_ID[letter]] for letter in RESIDUE_ID if letter != "J"}
        check_ids(vocabulary, found, letters)
    return Shape(layers, hidden, ffn, heads), context
