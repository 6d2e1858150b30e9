"""What linear models are given: hidden states of a model, or no more than the letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from plm_scaling.common.progress import Progress
from plm_scaling.inference.arrays import Floats
from plm_scaling.inference.fasta import chunked, entries_of
from plm_scaling.tokens.format.vocabulary import STANDARD

if TYPE_CHECKING:
    from plm_scaling.inference.embedder import Embedder

CHUNK_VALUES = 1 << 24  # of the hidden states held at a time


class Features(Protocol):
    """Features of sequences and of their residues."""

    def means(self, sequences: Sequence[str]) -> Floats:
        """[sequences, width]."""

    def residues(self, sequences: Sequence[str]) -> Iterator[Floats]:
        """[residues, width] of each sequence in turn."""


class Embeddings:
    """Hidden states of a layer, and their means; no more than a chunk of them is held."""

    def __init__(self, embedder: Embedder, progress: Progress) -> None:
        self.embedder = embedder
        self.progress = progress
        self.chunk_residues = CHUNK_VALUES // embedder.model.hidden

    def means(self, sequences: Sequence[str]) -> Floats:
        return np.concatenate(
            [
                self.embedder.means(*entries_of(chunk), self.progress.add)
                for chunk in chunked(sequences, self.chunk_residues)
            ]
        )

    def residues(self, sequences: Sequence[str]) -> Iterator[Floats]:
        for chunk in chunked(sequences, self.chunk_residues):
            entries, lengths = entries_of(chunk)
            states = self.embedder.residues(entries, lengths, self.progress.add)
            yield from np.split(states, np.cumsum(lengths)[:-1])


class OneHot:
    """The 20 amino acids as 0 and 1. For sequences, of one length: those of all places that vary;
    of several lengths: their shares."""

    def means(self, sequences: Sequence[str]) -> Floats:
        if len({*map(len, sequences)}) > 1:
            return np.stack([one.mean(0) for one in self.residues(sequences)])
        letters = np.frombuffer("".join(sequences).encode(), np.uint8).reshape(len(sequences), -1)
        varies = (letters != letters[0]).any(0)
        return _one_hot(letters[:, varies]).reshape(len(sequences), -1)

    def residues(self, sequences: Sequence[str]) -> Iterator[Floats]:
        for sequence in sequences:
            yield _one_hot(np.frombuffer(sequence.encode(), np.uint8))


def _one_hot(letters: np.ndarray) -> Floats:
    return (letters[..., None] == np.frombuffer(STANDARD.encode(), np.uint8)).astype(np.float32)
