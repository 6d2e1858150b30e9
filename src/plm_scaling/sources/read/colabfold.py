"""ColabFold's expandable databases, straight from the archive that holds them as TSV.

The archive of database `X` has `X.tsv` (one consensus sequence per cluster, under the key of the
cluster's representative), `X_seq.tsv` (all sequences), `X_h.tsv` (their headers) and `X_aln.tsv`.
Lines are `key`, tab, value, and the keys are those of `X_seq.tsv` everywhere. So the line of
`X_seq.tsv` whose key is also in `X.tsv` is a cluster's representative. The consensus sequences are
artificial and not read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.fasta import MAX_RECORD_BYTES, parse_records
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import (
    AGAIN,
    CHUNK_BYTES,
    archived_files,
    blocks,
    read_again,
)

KEY_DIGITS = 10  # keys of MMseqs2 have 32 bits
MAX_KEY = 2**32 - 1


def read_colabfold(
    path: Path, database: str, representatives: bool, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Records]:
    """Yield the clusters' representatives or, if not `representatives`, all other members.

    Ids are `{database}:{key}`. Memory: one byte per key up to the largest representative's (209 MB
    for colabfold_envdb_202108). The archive is read through once more where `X_seq.tsv` precedes
    `X.tsv` in it. Lines without a key count as members. Raises `SourceError` for an archive that is
    damaged or lacks one of the two.
    """
    files = archived_files(path)
    clusters = _find(files, f"{database}.tsv")
    if clusters is None:
        raise _lacks(path, f"{database}.tsv")
    keys = _keys(_lines(clusters, path, chunk_bytes), path)
    name = f"{database}_seq.tsv"
    if (sequences := _find(files, name)) is None:
        read_again([path])
        files = archived_files(path)
        sequences = _find(files, name)
    if sequences is None:
        raise _lacks(path, name)
    yield from _records(_lines(sequences, path, chunk_bytes), database, keys, representatives)


def _find(files: Iterator[tuple[str, int, BinaryIO]], name: str) -> BinaryIO | None:
    """The next file of this name in any folder."""
    return next((content for found, _, content in files if found.rpartition("/")[2] == name), None)


def _lacks(path: Path, name: str) -> SourceError:
    return SourceError(
        f"{path} has no {name}; correct column member of the source table, or {AGAIN}"
    )


def _lines(content: BinaryIO, path: Path, chunk_bytes: int) -> Iterator[list[bytes]]:
    """Whole lines, many at a time, without their ends."""
    rest = b""
    for block in blocks(content, path, chunk_bytes):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > MAX_RECORD_BYTES:
            raise SourceError(f"{path}: a line has more than {MAX_RECORD_BYTES} bytes; {AGAIN}")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _numbers(keys: list[bytes]) -> np.ndarray:
    """The keys as int64; −1 for what is none."""
    sound = [key if key.isdigit() and len(key) <= KEY_DIGITS else b"-1" for key in keys]
    return np.array(sound, f"S{KEY_DIGITS}").astype(np.int64)


def _keys(chunks: Iterator[list[bytes]], path: Path) -> np.ndarray:
    """For each key up to the largest, whether it is in the database (bool)."""
    present = np.zeros(1 << 16, bool)
    for lines in chunks:
        numbers = _numbers([line.partition(b"\t")[0] for line in lines])
        if numbers.min() < 0 or (largest := int(numbers.max())) > MAX_KEY:
            raise SourceError(f"{path}: a line of the clusters does not begin with a key; {AGAIN}")
        if largest >= len(present):
            grown = np.zeros(max(largest + 1, len(present) * 5 // 4), bool)
            grown[: len(present)] = present
            present = grown
        present[numbers] = True
    return present


def _records(
    chunks: Iterator[list[bytes]], database: str, keys: np.ndarray, representatives: bool
) -> Iterator[Records]:
    """The lines of `X_seq.tsv` with a key of `keys` (or without one), as FASTA records."""
    prefix = b">" + database.encode() + b":"
    line, record = 1, 1
    for lines in chunks:
        pairs = [text.partition(b"\t") for text in lines]
        numbers = _numbers([key for key, _, _ in pairs])
        known = (numbers >= 0) & (numbers < len(keys))
        known[known] = keys[numbers[known]]
        chosen = np.flatnonzero(known == representatives)
        keyed = (numbers >= 0).tolist()
        # After a blank, a '>' begins no record of its own.
        text = b"".join(
            [
                b"%b\n %b\n" % (prefix + pairs[i][0] if keyed[i] else b">", pairs[i][2])
                for i in chosen.tolist()
            ]
        )
        records = parse_records(text, record=record)
        records.rejected = [
            rejected._replace(line=line + int(chosen[rejected.record - record]))
            for rejected in records.rejected
        ]
        record += records.count
        line += len(lines)
        yield records
