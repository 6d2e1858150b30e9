"""What the training sequences are like as a whole, from one pass over them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from plm_scaling.common.files import atomic
from plm_scaling.common.parts import digests
from plm_scaling.downstream.generation.counts import LENGTH_BINS, ORDER, Doubles, length_bins
from plm_scaling.downstream.similarity.database import Entries
from plm_scaling.filter import ngram
from plm_scaling.inference.arrays import Ints
from plm_scaling.inference.fasta import read_chunks
from plm_scaling.pool.selection import Database
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey
from plm_scaling.sources.read.streams import counting, progress_of

CHUNK_RESIDUES = 1 << 20
_ENTRIES, _SUMS = "sequences", "sums.npz"


@dataclass(frozen=True)
class Training:
    """The training sequences: an MMseqs2 database, and their sums.

    `counts` [22³] of the n-gram model, `lengths` by bin, and those of the digests that were asked
    for which are among them.
    """

    database: Database
    counts: Doubles
    lengths: Doubles
    seen: np.ndarray

    @classmethod
    def load(cls, sums: Path, database: Database) -> Self:
        """The database with what `Sums` saved."""
        with np.load(sums) as saved:
            counts, lengths = (saved[name].astype(np.float64) for name in ("counts", "lengths"))
            return cls(database, counts, lengths, saved["seen"])

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `read_training` made."""
        with np.load(folder / _SUMS) as saved:
            size = saved["size"]
        database = Database(folder / _ENTRIES, int(size[0]), float(size[1]), int(size[2]))
        return cls.load(folder / _SUMS, database)


class Sums:
    """Sums over training sequences; `wanted` are the digests to look for among them."""

    def __init__(self, wanted: np.ndarray) -> None:
        self.wanted = wanted
        self.counts = np.zeros(ngram.SYMBOLS**ORDER, np.int64)
        self.lengths = np.zeros(LENGTH_BINS, np.int64)
        self.seen = np.zeros(len(wanted), np.bool_)

    def add(self, entries: bytes, lengths: Ints) -> None:
        """Whole entries `SEQUENCE\n\0` of sequences of these lengths."""
        self.counts += ngram.count(entries, ORDER)
        self.lengths += np.bincount(length_bins(lengths), minlength=LENGTH_BINS)

    def look(self, own: np.ndarray) -> None:
        """Look for the wanted digests among a training sequences' own."""
        self.seen |= np.isin(self.wanted, own)

    def save(self, path: Path, database: Database) -> None:
        """Write the file (.npz)."""
        size = [database.n_sequences, int(database.n_residues), database.max_seq_len]
        with atomic(path) as temporary, temporary.open("wb") as out:
            np.savez(
                out,
                counts=self.counts,
                lengths=self.lengths,
                seen=self.wanted[self.seen],
                size=np.array(size),
            )


def read_training(files: list[Path], wanted: np.ndarray, found: Survey, folder: Path) -> None:
    """Make `folder` from FASTA files; `wanted` are the digests to look for."""
    folder.mkdir()
    sums = Sums(wanted)
    progress = progress_of("judge: training sequences", files)
    with Entries(folder / _ENTRIES) as entries, counting(progress):
        for chunk in read_chunks(found.of(read_fasta(files)), CHUNK_RESIDUES):
            entries.add(chunk.entries, chunk.lengths)
            sums.add(chunk.entries, chunk.lengths)
            sums.look(digests(chunk.entries.split(b"\n\0")[:-1]))
    sums.save(folder / _SUMS, entries.made)
