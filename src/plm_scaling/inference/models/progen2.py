"""ProGen2 (Nijkamp et al. 2023) from a local folder, by a network of our own.

No code of the folder is run. Proteins are read from the first residue, after the token `1` (their
end is `2`), or by `backwards` from the last one, after `2`: it was trained on both. Each row
begins with that token, also one from the middle of a long protein, since the model knows no other.
J, which it lacks, is read as X; neither has a probability. Weights are float32.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.models.folder import (
    check_names,
    config_values,
    read_config,
    read_weights,
)
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.progen2_description import FIRST, LAST, described_progen2
from plm_scaling.inference.models.progen2_network import ProGen2, Sizes

CONSTANT = (".attn.bias", ".attn.masked_bias")  # stored with the weights, and always the same


class Progen2(Model):
    """A ProGen2."""

    network: ProGen2

    def backwards(self) -> "Progen2":
        """The same model for sequences that are given from their last residue to their first."""
        alphabet = replace(self.alphabet, end=FIRST, row_prefix=(LAST,))
        return replace(self, alphabet=alphabet, name=f"{self.name} backwards")

    def logits(self, rows: Tokens, sizes: Ints) -> Tensor:
        logits: Tensor = self.network(self._inputs(rows))
        return logits

    def states(self, rows: Tokens, sizes: Ints, layer: int) -> Tensor:
        return next(islice(self.network.states(self._inputs(rows)), layer, None))

    def attentions(self, rows: Tokens, sizes: Ints) -> Iterator[Tensor]:
        blocks: Any = self.network.transformer["h"]
        inputs = self.network.states(self._inputs(rows))
        for block, states in zip(blocks, inputs, strict=False):  # the last are no block's input
            yield block.weights(states)

    def _inputs(self, rows: Tokens) -> Tensor:
        return torch.from_numpy(rows.astype(np.int64)).to(self.device)


def open_progen2(folder: Path, device: torch.device) -> Progen2:
    """The model in `folder`, on `device`.

    Raises `InferenceError` as `described_progen2`, or if its weights are damaged or of another
    model.
    """
    described = described_progen2(folder)
    config = read_config(folder)
    (rotary,) = config_values(folder, config, "rotary_dim")
    layers, heads, hidden = described.layers, described.heads, described.hidden
    weights = {
        name: value.float()
        for name, value in read_weights(folder).items()
        if not name.endswith(CONSTANT)
    }
    with torch.device("meta"):  # no weights are drawn that others replace
        inner = config.get("n_inner") or 4 * hidden
        inputs, outputs = (
            len(weights[name]) if name in weights else 1
            for name in ("transformer.wte.weight", "lm_head.weight")
        )
        eps = float(config.get("layer_norm_epsilon", 1e-5))
        sizes = Sizes(layers, heads, hidden, inner, rotary, inputs, outputs, eps)
        network = ProGen2(sizes)
    wanted = network.state_dict()
    check_names(folder, weights, wanted)
    for name, value in sorted(weights.items()):
        if value.shape != wanted[name].shape:
            raise InferenceError(
                f"{folder}: {name} is {[*value.shape]}, by config.json {[*wanted[name].shape]}; "
                "download the whole folder again"
            )
    network.load_state_dict(weights, assign=True)
    return Progen2(**vars(described), network=network.to(device).eval(), device=device)
