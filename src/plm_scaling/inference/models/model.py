"""What every model can do, whoever trained it and whatever its tokens are."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.models.windows import Windows, windows
from plm_scaling.tokens.format.vocabulary import STANDARD


@dataclass(frozen=True)
class Alphabet:
    """Tokens of a model: ids (below 256) of the letters, and what stands around a sequence.

    `start` is in front of a sequence where it begins (None: nothing), `end` behind it; `row_prefix`
    begins each row that the model reads, also one from the middle of a long sequence. Letters that
    are not among `letters` are `other`.
    """

    letters: Mapping[str, int]
    other: int
    end: int
    start: int | None = None
    row_prefix: tuple[int, ...] = ()
    mask: int | None = None
    """None: of a causal model, which needs none."""

    @cached_property
    def residues(self) -> Ints:
        """Ids of the 20 amino acids, in the order of `STANDARD`."""
        return np.array([self.letters[letter] for letter in STANDARD])

    @cached_property
    def _table(self) -> bytes:
        known = {**self.letters, "\n": self.end, "\0": self.start or 0}
        return bytes(known.get(chr(byte), self.other) for byte in range(256))

    def tokens(self, entries: bytes) -> Tokens:
        """Tokens of whole database entries `SEQUENCE\\n\\0`, each from its start to its end."""
        if self.start is None:
            return np.frombuffer(entries.translate(self._table, b"\0"), np.uint8)
        return np.frombuffer((b"\0" + entries[:-1]).translate(self._table), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A protein language model in evaluation mode on `device`; `Scorer` and `Embedder` take it."""

    name: str
    """Objective, size or kind, and id or folder: for tables, with the checksum of the weights."""
    kind: str
    """cell, esm2 or progen2."""
    objective: str
    """clm or mlm."""
    context_length: int
    """Tokens of a row at most, with all that is not a residue."""
    layers: int
    heads: int
    hidden: int
    mask_ratio: float | None
    """Share of the residues masked in training; None: of a CLM, or unknown."""
    alphabet: Alphabet
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

    def tokens(self, chunk: bytes) -> Tokens:
        """Tokens of a chunk of database entries, as `windows` takes them to lie."""
        return self.alphabet.tokens(chunk)

    def windows(self, lengths: Ints) -> Windows:
        """The windows in which the model reads sequences of these lengths (residues)."""
        alphabet = self.alphabet
        return windows(
            lengths,
            self.context_length,
            self.objective,
            alphabet.start is not None,
            alphabet.row_prefix,
        )

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
