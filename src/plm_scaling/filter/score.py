"""The score table: one row per training and validation sequence, before any threshold."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.dedup.database import read_chunks, read_index
from plm_scaling.dedup.split import REFERENCE, TRAIN, VALID, sequences_of
from plm_scaling.errors import FilterError
from plm_scaling.files import atomic, sha256_of
from plm_scaling.filter import ngram
from plm_scaling.progress import Progress, short_number
from plm_scaling.rows import RowCursor, RowWriter, read_rows

logger = logging.getLogger("plm_scaling")

SCORE_SCHEMA = pa.schema(
    [
        ("key", pa.uint32()),
        ("id", pa.string()),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("split", pa.string()),
        ("length", pa.uint32()),
        ("nll_per_residue", pa.float32()),
        ("unknown_fraction", pa.float32()),
        ("distinct_3mer_ratio", pa.float32()),
        ("model", pa.string()),
    ]
)
UNKNOWN = b"XBZJ"
_IS_UNKNOWN = bytes(c in UNKNOWN for c in range(256))
_TRIMERS = ngram.SYMBOLS**3
_SEQUENCES_PER_BLOCK = 256  # 256 × 22³ flags stay in the cache


def score_sequences(
    split: Path, reference_source: str, order: int, out_model: Path, out: Path
) -> None:
    """Train the reference n-gram model and score every training and validation sequence with it.

    `nll_per_residue` is the mean of −ln P in nats, `unknown_fraction` the share of X B Z J,
    `distinct_3mer_ratio` the number of different 3-mers over that of all (missing below 3 residues;
    low in repeats, and falling slowly with length in any protein). The model is saved to
    `out_model`; the column `model` names it by order, source and checksum.
    """
    reference = sequences_of(split, REFERENCE)
    counts = np.zeros(ngram.SYMBOLS**order, np.int64) if 1 <= order <= ngram.MAX_ORDER else None
    if counts is None:
        raise FilterError(f"n-gram order {order} is not supported; use 1 to {ngram.MAX_ORDER}")
    for chunk in read_chunks(reference):
        counts += ngram.count(chunk, order)
    model = ngram.train(counts, order)
    model.save(out_model)
    name = f"{order}-gram {reference_source} {sha256_of(out_model)[:12]}"
    logger.info("[filter] %d-gram model on %s residues", order, short_number(_residues(reference)))
    with atomic(out) as temporary, RowWriter(temporary, SCORE_SCHEMA) as writer:
        total = sum(_residues(sequences_of(split, part)) for part in (TRAIN, VALID))
        progress = Progress("filter", total, "residues")
        for part in (TRAIN, VALID):
            cursor = RowCursor(
                read_rows(
                    split / "assignment.parquet",
                    ["key", "id", "source", "split", "length"],
                    split=part,
                )
            )
            for chunk in read_chunks(sequences_of(split, part)):
                lengths = entry_lengths(chunk)
                rows = cursor.take(len(lengths))
                if not np.array_equal(rows["length"].to_numpy(), lengths):
                    raise FilterError(
                        f"{split}: the {part} sequences do not match assignment.parquet; "
                        "make the split again"
                    )
                scores = score_chunk(model, chunk, lengths)
                for column, values in zip(SCORE_SCHEMA.names[5:8], scores, strict=True):
                    rows = rows.append_column(column, pa.array(values, mask=np.isnan(values)))
                writer.write(rows.append_column("model", pa.array([name] * len(rows))))
                progress.add(int(lengths.sum()))
        scored = writer.rows
    logger.info("[filter] %s sequences scored", f"{scored:,}")


def _residues(database: Path) -> int:
    lengths = read_index(database)[1]
    return int(lengths.sum()) - len(ngram.END) * len(lengths)


def entry_lengths(chunk: bytes) -> np.ndarray:
    """Residues of each sequence of a database chunk."""
    ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 0)
    return np.diff(ends, prepend=-1) - len(ngram.END)


def score_chunk(
    model: ngram.Ngram, chunk: bytes, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean nats per residue, unknown fraction and distinct 3-mer ratio of each sequence."""
    between = max(model.order - 1, len(ngram.END))
    nll = np.add.reduceat(model.nll_of(chunk), starts_of(lengths, between)) / lengths
    places = np.flatnonzero(np.frombuffer(chunk.translate(_IS_UNKNOWN), np.bool_))
    owner = np.searchsorted(np.cumsum(lengths + len(ngram.END)), places, side="right")
    unknown = np.bincount(owner, minlength=len(lengths)) / lengths
    return nll, unknown, distinct_3mer_ratio(chunk, lengths)


def starts_of(lengths: np.ndarray, between: int) -> np.ndarray:
    """Where each sequence begins when `between` bytes follow every one."""
    return np.cumsum(lengths + between) - (lengths + between)


def distinct_3mer_ratio(chunk: bytes, lengths: np.ndarray) -> np.ndarray:
    """Different 3-mers of each sequence over all its 3-mers, NaN for fewer than 3 residues."""
    codes = ngram.encode(chunk, 3)
    trimers = ngram.windows(codes, 3)
    inside = codes != ngram.BOUNDARY
    places = np.flatnonzero(inside[2:] & inside[1:-1] & inside[:-2])
    owner = np.repeat(np.arange(len(lengths)), np.maximum(lengths - 2, 0))
    seen = owner % _SEQUENCES_PER_BLOCK * _TRIMERS + trimers[places]
    ends = np.searchsorted(owner, np.arange(0, len(lengths), _SEQUENCES_PER_BLOCK))
    distinct = []
    for block in np.split(seen, ends[1:]):
        flags = np.zeros((_SEQUENCES_PER_BLOCK, _TRIMERS), bool)
        flags.ravel()[block] = True
        # Bits of eight flags at a time: much faster than a sum over the flags.
        distinct.append(np.bitwise_count(flags.view(np.uint64)).sum(axis=1, dtype=np.int64))
    counts = np.concatenate(distinct)[: len(lengths)]
    return np.where(lengths >= 3, counts / np.maximum(lengths - 2, 1), np.nan)
