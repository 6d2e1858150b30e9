"""ESM-2 in a folder of transformers: its tokens, and what its configuration says."""

import importlib.util
from pathlib import Path

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.description import Alphabet, Description
from plm_scaling.inference.models.folder import (
    check_ids,
    check_weights,
    config_values,
    read_config,
)

VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO"]
IDS = {token: number for number, token in enumerate(VOCABULARY)} | {"<mask>": 32}
ALPHABET = Alphabet(
    {token: number for token, number in IDS.items() if len(token) == 1},
    other=IDS["<unk>"],
    end=IDS["<eos>"],
    start=IDS["<cls>"],
    mask=IDS["<mask>"],
)
MASK_RATIO = 0.15  # of all ESM-2


def described_esm2(folder: Path) -> Description:
    """The model in `folder`. Raises `InferenceError` if transformers is missing, the folder is of
    another ESM, or its weights are pickles, incomplete or cut."""
    config = read_config(folder)
    if config.get("position_embedding_type") != "rotary" or config.get("is_folding_model"):
        raise InferenceError(
            f"{folder / 'config.json'}: an ESM with rotary positions that does not fold is read "
            "(ESM-2), no other; give another model"
        )
    names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings")
    layers, heads, hidden, positions = config_values(folder, config, *names)
    vocabulary = folder / "vocab.txt"
    if vocabulary.exists():
        lines = vocabulary.read_text(errors="replace").split()
        check_ids(vocabulary, {token: number for number, token in enumerate(lines)}, IDS)
    if importlib.util.find_spec("transformers") is None:
        raise InferenceError(
            f"{folder}: ESM-2 needs transformers: pip install 'plm-scaling[public-models]'"
        )
    check_weights(folder)
    return Description(
        name=f"mlm esm2 {folder.resolve().name}",
        kind="esm2",
        objective="mlm",
        context_length=positions - 2,  # two are reserved: 1024 with <cls> and <eos>
        layers=layers,
        heads=heads,
        hidden=hidden,
        mask_ratio=MASK_RATIO,
        alphabet=ALPHABET,
    )
