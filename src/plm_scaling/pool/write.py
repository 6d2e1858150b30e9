"""Make one part of the pool: sort by content, store each different sequence once."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.parts import digests, part_name, part_of
from plm_scaling.common.progress import logger
from plm_scaling.common.rows import RowWriter
from plm_scaling.config.data import MAX_SOURCES
from plm_scaling.pool.database import END, write_index
from plm_scaling.pool.read import FORMAT, RECORD_SCHEMA
from plm_scaling.sources.table import Kind

_WRITE_SEQUENCES = 1 << 16


def pool_part(
    clean: list[Path],
    sources: list[str],
    part: int,
    parts: int,
    kind: Kind,
    out: Path,
) -> None:
    """Sort one part of the cleaned sources by content and store each different sequence once.

    `clean[i]` is the folder of `sources[i]`; sources come first that shall own a sequence which
    several have. The part is held in memory. Raises `DedupError` for a
    file that is missing or is not what the cleaning step writes.

    Args:
        clean: folders made by clean_source.py
        sources: their names; the first owns copies
        part: number of the part, from 0
        parts: how many there are
        kind: of the sequences
        out: folder to make
    """
    if len(clean) != len(sources) or len(set(sources)) != len(sources):
        raise DedupError(
            f"{len(clean)} folders for the sources {sources}; give one folder for each"
        )
    if len(sources) > MAX_SOURCES:
        raise DedupError(
            f"{len(sources)} sources, at most {MAX_SOURCES} are possible; make files that belong "
            "together one source"
        )
    ids: list[bytes] = []
    sequences: list[bytes] = []
    owners: list[np.ndarray] = []
    for number, folder in enumerate(clean):
        if (found := len(list(folder.glob("part-*.fasta")))) != parts:
            raise DedupError(f"{folder} was cleaned for {found} parts, not {parts}; clean it again")
        names, texts = _read_clean(folder / f"{part_name(part)}.fasta")
        ids += names
        sequences += texts
        owners.append(np.full(len(names), number, np.int8))
    source = np.concatenate(owners)
    values = digests(sequences)
    if (part_of(values, parts) != part).any():
        raise DedupError(f"{clean[0].parent} holds sequences of other parts; clean again")
    order = _content_order(values, sequences, source, ids)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        key, lengths = _write_sequences(folder / "sequences", sequences, order)
        owner, length = source[order], lengths[key]
        _counts(sources, owner, key, length).write(folder / "counts.tsv")
        with RowWriter(folder / "records.parquet", RECORD_SCHEMA) as writer:
            for start in range(0, max(len(order), 1), _WRITE_SEQUENCES):
                piece = slice(start, start + _WRITE_SEQUENCES)
                names = pa.array([ids[i] for i in order[piece].tolist()], pa.binary())
                codes = pa.DictionaryArray.from_arrays(pa.array(owner[piece], pa.int8()), sources)
                columns = [key[piece], names.cast(pa.string()), codes, length[piece]]
                columns.append(values[order[piece]])
                writer.write(pa.table(columns, names=RECORD_SCHEMA.names))
        facts = {
            "format": FORMAT,
            "kind": kind,
            "part": part,
            "parts": parts,
            "sources": sources,
            "sequences": len(lengths),
            "records": len(order),
            "residues": int(lengths.sum()),
        }
        write_json(folder / "part.json", facts)
    logger.info(
        f"[pool] {kind} part {part + 1} of {parts}: {len(lengths):,} different sequences in "
        f"{len(order):,} records"
    )


def _read_clean(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Ids and sequences of a cleaned file: two lines per record."""
    lines = path.read_bytes().split(b"\n")
    if lines.pop() or len(lines) % 2 or any(not line.startswith(b">") for line in lines[0::2]):
        raise DedupError(f"{path} is damaged: not two lines per record; clean the source again")
    return [line[1:] for line in lines[0::2]], lines[1::2]


def _content_order(
    values: np.ndarray, sequences: list[bytes], source: np.ndarray, ids: list[bytes]
) -> np.ndarray:
    """Records by digest, then sequence (for digests that collide), source and id."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], len(ordered))
    for start, end in zip(*(edge[ends - starts > 1] for edge in (starts, ends)), strict=True):
        tied = order[start:end].tolist()
        tied.sort(key=lambda i: (sequences[i], source[i], ids[i]))
        order[start:end] = tied
    return order


def _write_sequences(
    path: Path, sequences: list[bytes], order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write the database; the key of each ordered record, and the residues of each sequence."""
    is_new = np.ones(len(order), bool)
    is_new[1:] = [
        sequences[a] != sequences[b]
        for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True)
    ]
    first = order[is_new]
    with path.open("wb") as file:
        for start in range(0, len(first), _WRITE_SEQUENCES):
            chosen = first[start : start + _WRITE_SEQUENCES].tolist()
            file.write(END.join([sequences[i] for i in chosen]) + END)
    lengths = np.fromiter((len(sequences[i]) for i in first.tolist()), np.int64, len(first))
    sizes = lengths + len(END)
    write_index(path, [(np.arange(len(first)), np.cumsum(sizes) - sizes, sizes)])
    return np.cumsum(is_new) - 1, lengths


def _counts(sources: list[str], owner: np.ndarray, key: np.ndarray, length: np.ndarray) -> Counts:
    """What each source gave."""
    counts = Counts("pool")
    for number, name in enumerate(sources):
        own = owner == number
        copies = own & (np.diff(key, prepend=-1) == 0)
        for reason, which in (("in", own), ("kept", own), ("handled:exact_copy", copies)):
            counts.add(name, reason, which.sum(), length[which].sum())
    return counts
