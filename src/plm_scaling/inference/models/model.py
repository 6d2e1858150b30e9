"""What every model can do, whoever trained it and whatever its tokens are."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.models.description import Description


@dataclass(frozen=True, kw_only=True)
class Model(Description, ABC):
    """A protein language model in evaluation mode on `device`; `Scorer` and `Embedder` take it."""

    network: nn.Module
    device: torch.device

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of all weights: what the model is, however it was stored."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.named_parameters()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def facts(self) -> dict[str, str]:
        """What tables that the model made say of it."""
        named = {"model": self.name, "kind": self.kind, "objective": self.objective}
        return named | {"weights": self.weights_sha256}

    @abstractmethod
    def logits(self, rows: Tokens, sizes: Ints) -> Tensor:
        """Logits [rows, width, vocabulary] of `rows` [rows, width] that begin with one sequence
        each, of `sizes` tokens; what follows changes nothing in it."""

    @abstractmethod
    def states(self, rows: Tokens, sizes: Ints, layer: int) -> Tensor:
        """Hidden states [rows, width, hidden] of such rows: of the embedding (`layer` 0), the
        output of layer k, or after the final norm (the last)."""

    @abstractmethod
    def attentions(self, rows: Tokens, sizes: Ints) -> Iterator[Tensor]:
        """Attention weights of such rows, layer by layer: [rows, heads, width, width], fp32. Row i
        of a map says what position i attends to; positions beyond a sequence are not meaningful
        there, and nothing within it attends to them."""
