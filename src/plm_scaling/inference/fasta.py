"""Proteins of FASTA files in chunks, in order, with little memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plm_scaling.common.progress import logger, many
from plm_scaling.inference.arrays import Ints
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey, shown
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import counting, progress_of

CHUNK_SEQUENCES = 1 << 14


@dataclass(frozen=True)
class Chunk:
    """Consecutive proteins: their names, lengths in residues, and entries `SEQUENCE\\n\\0`."""

    ids: list[str]
    lengths: Ints
    entries: bytes


def read_chunks(batches: Iterable[Records], residues: int) -> Iterator[Chunk]:
    """Chunks of about `residues` residues, or of one longer sequence; what is rejected is not in
    them."""
    ids: list[str] = []
    sequences: list[bytes] = []
    size = 0
    for records in batches:
        for name, sequence in zip(records.ids, records.sequences, strict=True):
            if ids and (size + len(sequence) > residues or len(ids) == CHUNK_SEQUENCES):
                yield _chunk(ids, sequences)
                ids, sequences, size = [], [], 0
            ids.append(name.decode())
            sequences.append(sequence)
            size += len(sequence)
    if ids:
        yield _chunk(ids, sequences)


def _chunk(ids: list[str], sequences: list[bytes]) -> Chunk:
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    return Chunk(ids, lengths, b"".join(sequence + b"\n\0" for sequence in sequences))


def entries_of(sequences: Sequence[str]) -> tuple[bytes, Ints]:
    """Entries `SEQUENCE\\n\\0` of sequences, and their lengths in residues."""
    entries = b"".join(sequence.encode() + b"\n\0" for sequence in sequences)
    return entries, np.array([len(sequence) for sequence in sequences], np.int64)


def chunked(sequences: Iterable[str], residues: int) -> Iterator[list[str]]:
    """Consecutive sequences of about so many residues together, or one longer sequence."""
    chunk: list[str] = []
    size = 0
    for sequence in sequences:
        if chunk and size + len(sequence) > residues:
            yield chunk
            chunk, size = [], 0
        chunk.append(sequence)
        size += len(sequence)
    if chunk:
        yield chunk


class Lengths(NamedTuple):
    """The lengths (residues) that sequences have, rising, and how many have each."""

    residues: Ints
    sequences: Ints

    def total(self, work: Callable[[Ints], Ints]) -> int:
        """Of all sequences together, where `work` says it of one of each length."""
        return int(work(self.residues) @ self.sequences)


def survey(label: str, files: list[Path], found: Survey) -> Lengths:
    """The lengths of the sequences in `files`.

    It reads them once, which is fast, so that what cannot be used is reported first.
    """
    lengths: Counter[int] = Counter()
    with counting(progress_of(f"{label}: look", files)):
        for records in found.of(read_fasta(files)):
            lengths.update(map(len, records.sequences))
    names = ", ".join(shown(str(path)) for path in files)
    logger.info("[%s] %s: %s", label, names, many(lengths.total(), "sequence"))
    return Lengths(*np.array(sorted(lengths.items()), np.int64).reshape(-1, 2).T)
