"""What the training sequences are like as a whole, from one pass over them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plm_scaling.common.files import atomic
from plm_scaling.common.parts import digests
from plm_scaling.downstream.generation.kinds import LENGTH_BINS, ORDER, Doubles, length_bins
from plm_scaling.downstream.similarity.database import Entries
from plm_scaling.filter import ngram
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
    def open(cls, folder: Path) -> "Training":
        """What `read_training` made."""
        with np.load(folder / _SUMS) as sums:
            size, counts = sums["size"], sums["counts"].astype(np.float64)
            database = Database(folder / _ENTRIES, int(size[0]), float(size[1]), int(size[2]))
            return cls(database, counts, sums["lengths"].astype(np.float64), sums["seen"])


def read_training(files: list[Path], wanted: np.ndarray, found: Survey, folder: Path) -> None:
    """Make `folder` from FASTA files; `wanted` are the digests to look for."""
    folder.mkdir()
    counts = np.zeros(ngram.SYMBOLS**ORDER, np.int64)
    lengths = np.zeros(LENGTH_BINS, np.int64)
    seen = np.zeros(len(wanted), np.bool_)
    progress = progress_of("judge: training sequences", files)
    with Entries(folder / _ENTRIES) as entries, counting(progress):
        for chunk in read_chunks(found.of(read_fasta(files)), CHUNK_RESIDUES):
            entries.add(chunk.entries, chunk.lengths)
            counts += ngram.count(chunk.entries, ORDER)
            lengths += np.bincount(length_bins(chunk.lengths), minlength=LENGTH_BINS)
            seen |= np.isin(wanted, digests(chunk.entries.split(b"\n\0")[:-1]))
    made = entries.made
    size = [made.n_sequences, int(made.n_residues), made.max_seq_len]
    with atomic(folder / _SUMS) as temporary, temporary.open("wb") as out:
        np.savez(out, counts=counts, lengths=lengths, seen=wanted[seen], size=np.array(size))
