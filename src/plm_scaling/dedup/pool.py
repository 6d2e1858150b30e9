"""The pool: all sequences of all sources, each different one once, in the order of their digests.

`pool/protein/part-0003/` holds one part: `sequences`, an MMseqs2 sequence database with keys 0 to
n − 1 that count within the part; `records.parquet`, one row per input record; `counts.tsv`; and
`part.json`. The global key of a sequence is its key plus the number of sequences in earlier parts.
Because the order is that of the content, the input's order, its division into files and the number
of parts change nothing. Databases of some of the sequences are views: an index and links.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.counts import Counts
from plm_scaling.dedup.database import END, read_index, write_index
from plm_scaling.errors import DedupError
from plm_scaling.files import atomic, read_json, write_json
from plm_scaling.parts import digests, part_name, part_of
from plm_scaling.rows import RowWriter, read_rows

logger = logging.getLogger("plm_scaling")

FORMAT = "plm-scaling pool 1"
PROTEIN, CODE = "protein", "code"
RECORD_SCHEMA = pa.schema(
    [
        ("key", pa.uint32()),
        ("id", pa.string()),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("length", pa.uint32()),
        ("digest", pa.uint64()),
    ]
)
MAX_SEQUENCES = 2**32 - 1  # keys of MMseqs2 have 32 bits
_WRITE_SEQUENCES = 1 << 16
_COMMON = ("format", "kind", "parts", "sources")


def pool_part(
    clean: list[Path], sources: list[str], part: int, parts: int, kind: str, out: Path
) -> None:
    """Sort one part of the cleaned sources by content and store each different sequence once.

    `clean[i]` is the folder of `sources[i]`; sources come first that shall own a sequence which
    several have. `kind` is protein or code. The part is held in memory. Raises `DedupError` for a
    file that is missing or is not what the cleaning step writes.
    """
    if len(clean) != len(sources) or len(set(sources)) != len(sources):
        raise DedupError(
            f"{len(clean)} folders for the sources {sources}; give one folder for each"
        )
    ids: list[bytes] = []
    sequences: list[bytes] = []
    owner: list[np.ndarray] = []
    for number, folder in enumerate(clean):
        if (found := len(list(folder.glob("part-*.fasta")))) != parts:
            raise DedupError(f"{folder} was cleaned for {found} parts, not {parts}; clean it again")
        names, texts = _read_clean(folder / f"{part_name(part)}.fasta")
        ids += names
        sequences += texts
        owner.append(np.full(len(names), number, np.int8))
    source = np.concatenate(owner)
    values = digests(sequences)
    if (part_of(values, parts) != part).any():
        raise DedupError(f"{clean[0].parent} holds sequences of other parts; clean again")
    order = _content_order(values, sequences, source, ids)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        key, lengths = _write_sequences(folder / "sequences", sequences, order)
        records = (ids, source[order], values[order], key, lengths[key], order)
        counts = _write_records(folder, sources, *records)
        counts.write(folder / "counts.tsv")
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
        "[pool] %s part %d of %d: %s different sequences in %s records",
        kind,
        part + 1,
        parts,
        f"{len(lengths):,}",
        f"{len(order):,}",
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


def _write_records(
    folder: Path,
    sources: list[str],
    ids: list[bytes],
    source: np.ndarray,
    values: np.ndarray,
    key: np.ndarray,
    length: np.ndarray,
    order: np.ndarray,
) -> Counts:
    """records.parquet, and what each source gave."""
    counts = Counts("pool")
    for number, name in enumerate(sources):
        own = source == number
        counts.add(name, "in", own.sum(), length[own].sum())
        counts.add(name, "kept", own.sum(), length[own].sum())
        copies = own & (np.diff(key, prepend=-1) == 0)
        counts.add(name, "handled:exact_copy", copies.sum(), length[copies].sum())
    with RowWriter(folder / "records.parquet", RECORD_SCHEMA) as writer:
        for start in range(0, max(len(order), 1), _WRITE_SEQUENCES):
            piece = slice(start, start + _WRITE_SEQUENCES)
            names = pa.array([ids[i] for i in order[piece].tolist()], pa.binary()).cast(pa.string())
            codes = pa.DictionaryArray.from_arrays(pa.array(source[piece], pa.int8()), sources)
            columns = [key[piece], names, codes, length[piece], values[piece]]
            writer.write(pa.table(columns, names=RECORD_SCHEMA.names))
    return counts


@dataclass(frozen=True)
class PoolPart:
    """One part. `first_key` is the global key of its first sequence."""

    folder: Path
    number: int
    first_key: int
    n_sequences: int
    n_records: int
    n_residues: int

    @property
    def database(self) -> Path:
        """The MMseqs2 database of the part's sequences, with keys that count within the part."""
        return self.folder / "sequences"

    def index(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset in the data file, in bytes, and residues of each sequence (both int64)."""
        _, sizes = read_index(self.database)
        return np.cumsum(sizes) - sizes, sizes - len(END)

    def data(self) -> pa.Buffer:
        """The data file, mapped: entries `SEQUENCE\\n\\0`."""
        if self.n_sequences == 0:
            return pa.py_buffer(b"")
        with pa.memory_map(str(self.database)) as file:
            return file.read_buffer()

    def records(self, columns: list[str]) -> Iterator[pa.Table]:
        """The rows of records.parquet in order, in pieces; keys count within the part."""
        return read_rows(self.folder / "records.parquet", columns)

    def digests(self) -> np.ndarray:
        """The digest (uint64) of each sequence, ascending."""
        values = np.empty(self.n_sequences, np.uint64)
        for rows in self.records(["key", "digest"]):
            values[rows["key"].to_numpy()] = rows["digest"].to_numpy()
        return values

    def owners(self) -> np.ndarray:
        """Per sequence the source (int8, place in `Pool.sources`) of its first record."""
        codes = np.empty(self.n_sequences, np.int8)
        last = -1
        for rows in self.records(["key", "source"]):
            key = rows["key"].to_numpy().astype(np.int64)
            first = np.diff(key, prepend=last) > 0
            codes[key[first]] = rows["source"].combine_chunks().indices.to_numpy()[first]
            last = key[-1]
        return codes


class Pool:
    """All parts of a pool, in the order of their sequences."""

    def __init__(self, folder: Path, kind: str, sources: list[str], parts: list[PoolPart]) -> None:
        self.folder = folder
        self.kind = kind
        self.sources = sources
        self.parts = parts

    @property
    def n_sequences(self) -> int:
        """Different sequences."""
        return sum(part.n_sequences for part in self.parts)

    @property
    def n_residues(self) -> int:
        """Residues of the different sequences."""
        return sum(part.n_residues for part in self.parts)

    @classmethod
    def open(cls, folder: Path | str) -> "Pool":
        """Read what the parts say of themselves.

        Raises `DedupError` if a part is missing, or if parts belong to different pools.
        """
        folder = Path(folder)
        found = sorted(path.parent for path in folder.glob("part-*/part.json"))
        if not found:
            raise DedupError(f"{folder} holds no part of a pool; pool the cleaned sources first")
        facts = [read_json(path / "part.json") for path in found]
        for path, own in zip(found, facts, strict=True):
            if any(own.get(what) != facts[0].get(what) for what in _COMMON) or (
                own["format"] != FORMAT
            ):
                raise DedupError(f"{path} and {found[0]} are parts of different pools; pool again")
        if [own["part"] for own in facts] != list(range(facts[0]["parts"])):
            raise DedupError(
                f"{folder} has {len(found)} of {facts[0]['parts']} parts; pool the others too"
            )
        counted = [(own["sequences"], own["records"], own["residues"]) for own in facts]
        first = np.cumsum([0, *(sequences for sequences, _, _ in counted)]).tolist()
        if first[-1] > MAX_SEQUENCES:
            raise DedupError(
                f"{folder} has {first[-1]:,} sequences; MMseqs2 counts {MAX_SEQUENCES:,} at most"
            )
        parts = [
            PoolPart(path, number, first[number], *own)
            for number, (path, own) in enumerate(zip(found, counted, strict=True))
        ]
        return cls(folder, facts[0]["kind"], facts[0]["sources"], parts)


def write_view(pool: Pool, keys: Iterable[np.ndarray], out: Path) -> None:
    """Make `out` an MMseqs2 database of some of the pool's sequences, without copying any.

    `keys` gives, part by part, the ascending global keys that are chosen. The data files `out.0`,
    `out.1`, … are links to those of the parts, relative, so that the folder can be moved as a
    whole; the index holds global keys and offsets.
    """
    out.parent.mkdir(parents=True, exist_ok=True)

    def entries() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        first_byte = 0
        for part, chosen in zip(pool.parts, keys, strict=True):
            offsets, lengths = part.index()
            local = chosen.astype(np.int64) - part.first_key
            yield chosen, offsets[local] + first_byte, lengths[local] + len(END)
            first_byte += part.n_residues + len(END) * part.n_sequences

    write_index(out, entries())
    for part in pool.parts:
        link = out.with_name(f"{out.name}.{part.number}")
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(part.database.resolve(), out.parent.resolve()))
