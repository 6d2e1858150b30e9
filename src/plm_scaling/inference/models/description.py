"""What is known of a model before its weights are read: without PyTorch, which takes seconds to
import, so that what cannot be done is refused at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.common.errors import InferenceError
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
class Description:
    """A protein language model without its weights."""

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

    def layer_number(self, layer: int) -> int:
        """A layer counted from 0 (the token embeddings), given so or from the end with -1. Raises
        `InferenceError` for one that the model does not have."""
        layers = self.layers
        if not -layers - 1 <= layer <= layers:
            raise InferenceError(
                f"--layer {layer}: the model has {layers} layers; give 0 (token embeddings) to "
                f"{layers} (after the final norm), or count from the end with -1 to {-layers - 1}"
            )
        return layer % (layers + 1)

    def check_fast(self) -> None:
        """Raises `InferenceError` if it cannot score with as many masks as in training."""
        if self.objective != "mlm":
            raise InferenceError(
                f"--fast is for masked models; {self.name} is causal: one pass is exact"
            )
        if self.mask_ratio is None:
            raise InferenceError(
                f"{self.name}: it is not known how many residues were masked in training; "
                "score without --fast"
            )
