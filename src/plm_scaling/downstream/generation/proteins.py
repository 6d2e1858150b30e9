"""Sets of proteins to be judged: generated ones, as many natural ones, and those shuffled."""

import hashlib
import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import read_json
from plm_scaling.common.parts import digests
from plm_scaling.common.splitmix import GOLDEN, mix
from plm_scaling.downstream.similarity.database import Entries
from plm_scaling.inference.arrays import Ints
from plm_scaling.inference.generation.options import about
from plm_scaling.pool.selection import Database
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey

GENERATED, NATURAL, SHUFFLED = "generated", "natural", "shuffled"
"""The sets that are judged beside each other."""


@dataclass(frozen=True)
class Proteins:
    """Proteins in order. `ended` of them ended by themselves; None where that is not known."""

    sequences: list[bytes]
    ended: int | None = None

    @cached_property
    def lengths(self) -> Ints:
        """Residues of each."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    @cached_property
    def digests(self) -> np.ndarray:
        """By which equal sequences are known."""
        return digests(self.sequences)

    @cached_property
    def entries(self) -> bytes:
        """All of them as database entries."""
        return b"".join(sequence + b"\n\0" for sequence in self.sequences)

    @property
    def fingerprint(self) -> str:
        """What the set is, in its order."""
        return hashlib.sha256(self.entries).hexdigest()

    def count(self) -> int:
        """How many there are."""
        return len(self.sequences)

    def chunks(self, residues: int) -> Iterator["Proteins"]:
        """The same in chunks of about so many residues."""
        of_chunk = (np.cumsum(self.lengths) - self.lengths) // residues
        for own in np.split(np.arange(self.count()), np.flatnonzero(np.diff(of_chunk)) + 1):
            yield Proteins([self.sequences[place] for place in own])

    def view(self, path: Path) -> Database:
        """Make the MMseqs2 database `path` of them, with their places as keys."""
        with Entries(path) as database:
            database.add(self.entries, self.lengths)
        return database.made


def generated_proteins(files: list[Path], found: Survey) -> Proteins:
    """The proteins of FASTA files, and what `generate` wrote beside one file of their ends."""
    sequences = [
        sequence for records in found.of(read_fasta(files)) for sequence in records.sequences
    ]
    ended = _ended(about(files[0]), len(sequences)) if len(files) == 1 else None
    return Proteins(sequences, ended)


def _ended(path: Path, number: int) -> int | None:
    """How many of them ended; None if the file is not there, or of another number of proteins."""
    try:
        facts = read_json(path)
        return int(facts["ended"]) if facts["proteins"] == number else None
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def natural_proteins(files: list[Path], number: int, seed: int, found: Survey) -> Proteins:
    """`number` proteins of FASTA files, or all, drawn by `seed` whatever their order there."""
    # Those with the largest hashes are a random choice; a heap holds no more than these.
    chosen: list[tuple[int, bytes]] = []
    for records in found.of(read_fasta(files)):
        hashes = drawn_by(digests(records.sequences), seed)
        for item in zip(hashes.tolist(), records.sequences, strict=True):
            if len(chosen) < number:
                heapq.heappush(chosen, item)
            elif item > chosen[0]:
                heapq.heapreplace(chosen, item)
    if not chosen:
        raise DownstreamError(f"{', '.join(map(str, files))}: no protein to compare with")
    return Proteins([sequence for _, sequence in sorted(chosen)])


def drawn_by(of_sequences: np.ndarray, seed: int) -> np.ndarray:
    """Of digests the numbers (uint64) whose largest are a random choice."""
    return mix(of_sequences ^ mix(np.array([seed], np.uint64) + GOLDEN))


def shuffled_proteins(proteins: Proteins, seed: int) -> Proteins:
    """The same proteins, the residues of each in random order: lengths and composition stay."""
    rng = np.random.default_rng(seed)
    return Proteins(
        [
            rng.permutation(np.frombuffer(sequence, np.uint8)).tobytes()
            for sequence in proteins.sequences
        ]
    )
