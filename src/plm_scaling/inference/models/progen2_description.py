"""ProGen2 in a folder of transformers: its tokens, and what its configuration says."""

from pathlib import Path

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.description import Alphabet, Description
from plm_scaling.inference.models.folder import (
    check_ids,
    check_weights,
    config_values,
    read_config,
    read_object,
)

PARTS = 8  # rows of `qkv_proj` are grouped as the eight processes of its training had them
LETTERS = "ABCDEFGHIKLMNOPQRSTUVWXYZ"
FIRST, LAST = 3, 4  # of the tokens `1` and `2`
IDS = {"1": FIRST, "2": LAST} | {letter: number for number, letter in enumerate(LETTERS, start=5)}
ALPHABET = Alphabet(
    {letter: IDS[letter] for letter in LETTERS},
    other=IDS["X"],
    end=LAST,
    row_prefix=(FIRST,),
)


def described_progen2(folder: Path) -> Description:
    """The model in `folder`. Raises `InferenceError` if the configuration is of another model, or
    its weights are pickles, incomplete or cut."""
    config = read_config(folder)
    layers, heads, hidden, _, context = config_values(
        folder, config, "n_layer", "n_head", ("embed_dim", "n_embd"), "rotary_dim", "n_positions"
    )
    if heads % PARTS or hidden % heads:
        raise InferenceError(
            f"{folder / 'config.json'}: {heads} heads of width {hidden} are not those of a "
            f"ProGen2, whose heads are a multiple of {PARTS}; give another model"
        )
    if config.get("activation_function", "gelu_new") != "gelu_new":
        raise InferenceError(
            f"{folder / 'config.json'}: key activation_function is "
            f"{config['activation_function']!r}, in ProGen2 gelu_new; give another model"
        )
    vocabulary = folder / "tokenizer.json"
    if vocabulary.exists():
        model = read_object(vocabulary).get("model")
        known = model.get("vocab") if isinstance(model, dict) else None
        check_ids(vocabulary, known if isinstance(known, dict) else {}, IDS)
    check_weights(folder)
    return Description(
        name=f"clm progen2 {folder.resolve().name}",
        kind="progen2",
        objective="clm",
        context_length=context,
        layers=layers,
        heads=heads,
        hidden=hidden,
        mask_ratio=None,
        alphabet=ALPHABET,
    )
