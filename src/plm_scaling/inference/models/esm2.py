"""ESM-2 (Lin et al. 2023) from a folder of transformers, by its class `EsmForMaskedLM`.

That class keeps ESM-2's token dropout: embeddings are scaled by the share of tokens that is not
masked. `<cls>` and `<eos>` stand where a protein begins and ends, not at the edges of a piece, as
in its training. Weights are float32.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.models.esm2_description import described_esm2
from plm_scaling.inference.models.folder import read_weights
from plm_scaling.inference.models.model import Model

ROTARY = ".rotary_embeddings.inv_freq"


class Esm2(Model):
    """A model of the class; its rows begin with `<cls>` where a protein does."""

    network: Any  # of transformers

    def logits(self, rows: Tokens, sizes: Ints) -> Tensor:
        logits: Tensor = self._run(rows, sizes).logits
        return logits

    def states(self, rows: Tokens, sizes: Ints, layer: int) -> Tensor:
        found = self._run(rows, sizes, output_hidden_states=True).hidden_states
        states: Tensor = found[layer]
        return states

    def attentions(self, rows: Tokens, sizes: Ints) -> Iterator[Tensor]:
        inner = [layer.attention.self for layer in self.network.esm.encoder.layer]
        given: list[Any] = []
        fast = self.network.config._attn_implementation
        self.network.set_attn_implementation("eager")  # only that gives its weights
        hooks = [
            m.register_forward_pre_hook(partial(_take, given), with_kwargs=True) for m in inner
        ]
        try:
            self._run(rows, sizes)
            for hook in hooks:
                hook.remove()
            # Once more, one at a time: the class would keep the maps of all layers together.
            for attention, (arguments, options) in zip(inner, given, strict=True):
                yield attention(*arguments, **options)[1].float()
        finally:
            self.network.set_attn_implementation(fast)

    def _run(self, rows: Tokens, sizes: Ints, **options: bool) -> Any:
        tokens = torch.from_numpy(rows.astype(np.int64)).to(self.device)
        inside = torch.arange(rows.shape[1]) < torch.from_numpy(sizes)[:, None]
        return self.network(tokens, attention_mask=inside.long().to(self.device), **options)


def _take(given: list[Any], module: Any, arguments: Any, options: Any) -> None:
    """A hook that keeps what a module is called with."""
    given.append((arguments, options))


def open_esm2(folder: Path, device: torch.device) -> Esm2:
    """The model in `folder`, on `device`.

    Raises `InferenceError` as `described_esm2`, or if its weights are damaged or of another model.
    """
    described = described_esm2(folder)
    network = _network(folder).to(device).eval()
    return Esm2(**vars(described), network=network, device=device)


def _network(folder: Path) -> torch.nn.Module:
    frequencies = read_weights(folder, ROTARY)  # first: it says if a file is damaged
    from transformers import EsmForMaskedLM
    from transformers.utils import logging as its_logging

    before, bars = its_logging.get_verbosity(), its_logging.is_progress_bar_enabled()
    its_logging.set_verbosity(logging.ERROR)  # what it would say of weights is checked here
    its_logging.disable_progress_bar()
    try:
        network, found = EsmForMaskedLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    finally:
        its_logging.set_verbosity(before)
        if bars:
            its_logging.enable_progress_bar()
    # Contacts are not asked of the model's own head; rotary frequencies are no weights.
    spare = ("esm.contact_head.", "esm.rotary_embeddings.")
    lacking = [name for name in found["missing_keys"] if not name.startswith(spare)]
    if lacking or found["mismatched_keys"]:
        name = sorted(lacking or map(str, found["mismatched_keys"]))[0]
        raise InferenceError(
            f"the weights in {folder} lack {name}, or it has another shape: config.json is of "
            "another model, or files are missing; download the whole folder again"
        )
    for stored in frequencies.values():  # all are alike; transformers 5 keeps one, elsewhere
        network.esm.rotary_embeddings.inv_freq.copy_(stored)
    module: torch.nn.Module = network
    return module
