"""Sequences in a column of Parquet or Arrow tables, the usual form of sequence sets on hubs.

The rows are joined to FASTA text, so that `parse_records` keeps, fixes and rejects as it does for
all other formats.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.column_files import is_list, read_batches
from plm_scaling.sources.read.fasta import MAX_RECORD_BYTES, parse_records
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import AGAIN, CHUNK_BYTES

_BYTES = pa.large_binary()


def read_columns(
    paths: Path | Sequence[Path], sequence_column: str = "", id_column: str = ""
) -> Iterator[Records]:
    """Yield the sequences of Parquet files, and of Arrow files or streams.

    A column that is not named is found by its usual names. Each element of a list is a record
    `id:i`, or has the id of the same place if the ids are lists too. Without a column of ids a
    record is called by its file and row, `stem:n`; both count from 1. Raises `SourceError` for a
    file that is missing, damaged or cut off, and where it is not clear which column is meant.
    """
    record = 1
    for path in [paths] if isinstance(paths, Path) else paths:
        row = 1
        for sequences, ids in read_batches(path, sequence_column, id_column):
            if ids is None:
                ids = _joined(path.stem, ":", _as_bytes(pa.array(range(row, row + len(sequences)))))
            row += len(sequences)
            for text in _fasta(*_flat(sequences, ids, path), path):
                records = parse_records(text, record=record)
                records.rejected = [
                    one._replace(line=None, file=str(path)) for one in records.rejected
                ]
                record += records.count
                yield records
    if record == 1:
        raise SourceError(f"{paths} holds no record; {AGAIN}")


def _flat(sequences: pa.Array, ids: pa.Array, path: Path) -> tuple[pa.Array, pa.Array]:
    """Sequences and ids as bytes, one for each record."""
    if is_list(sequences.type):
        counts = _counts(sequences)
        if is_list(ids.type):
            if not np.array_equal(counts, _counts(ids)):
                raise SourceError(
                    f"{path}: a row has more or fewer ids than sequences; give another id_column"
                )
            ids = pc.list_flatten(ids)
        else:
            places = np.arange(1, counts.sum() + 1) - np.repeat(np.cumsum(counts) - counts, counts)
            ids = _as_bytes(ids).take(pa.array(np.repeat(np.arange(len(ids)), counts)))
            ids = _joined(ids, ":", _as_bytes(pa.array(places)))
        sequences = pc.list_flatten(sequences)
    return _as_bytes(sequences), _as_bytes(ids)


def _counts(lists: pa.Array) -> np.ndarray:
    """The number of elements of each list."""
    return pc.list_value_length(lists).fill_null(0).to_numpy()


def _fasta(sequences: pa.Array, ids: pa.Array, path: Path) -> Iterator[bytes]:
    """The records as FASTA text of about CHUNK_BYTES."""
    rows = max(1, len(sequences) * CHUNK_BYTES // max(sequences.nbytes, 1))
    for start in range(0, len(sequences), rows):
        some, names = sequences.slice(start, rows), ids.slice(start, rows)
        if (pc.max(pc.binary_length(some)).as_py() or 0) > MAX_RECORD_BYTES:
            raise SourceError(
                f"{path}: a record has more than {MAX_RECORD_BYTES} bytes; this is no protein, "
                "give another sequence_column"
            )
        text = _text(some, names)
        if text.count(b"\n") != 2 * len(some) or b"\r" in text:
            text = _text(*(pc.replace_substring_regex(one, "[\r\n]", " ") for one in (some, names)))
        yield text


def _text(sequences: pa.Array, ids: pa.Array) -> bytes:
    # After a blank, a '>' begins no record of its own.
    text: bytes = _joined(">", ids, "\n ", sequences, "\n").buffers()[2].to_pybytes()
    return text


def _joined(*parts: str | pa.Array) -> pa.Array:
    """Row by row, one after the other; null counts as empty."""
    each = [pa.scalar(part.encode(), _BYTES) if isinstance(part, str) else part for part in parts]
    nothing = pa.scalar(b"", _BYTES)
    return pc.binary_join_element_wise(*each, nothing, null_handling="replace", null_replacement="")


def _as_bytes(column: pa.Array) -> pa.Array:
    """Text or integers."""
    plain = column.dictionary_decode() if pt.is_dictionary(column.type) else column
    return (plain.cast(pa.large_string()) if pt.is_integer(plain.type) else plain).cast(_BYTES)
