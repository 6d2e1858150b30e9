"""The pool: all sequences of all sources, each different one once, in the order of their digests.

`pool/protein/part-0003/` holds one part: `sequences`, an MMseqs2 sequence database with keys 0 to
n − 1 that count within the part; `records.parquet`, one row per input record; `counts.tsv`; and
`part.json`. The global key of a sequence is its key plus the number of sequences in earlier parts.
Because the order is that of the content, the input's order, its division into files and the number
of parts change nothing. Databases of some of the sequences are views: an index and links.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import read_json
from plm_scaling.common.rows import read_rows
from plm_scaling.pool.database import END, read_index, write_index

FORMAT = "plm-scaling pool 1"
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
_COMMON = ("format", "kind", "parts", "sources")


@dataclass(frozen=True)
class PoolPart:
    """One part. `first_key` is the global key of its first sequence."""

    folder: Path
    number: int
    first_key: int
    n_sequences: int
    n_residues: int

    @property
    def database(self) -> Path:
        """The MMseqs2 database of the part's sequences, with keys that count within the part."""
        return self.folder / "sequences"

    def index(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset in the data file, in bytes, and residues of each sequence (both int64)."""
        offsets, sizes = read_index(self.database)
        return offsets, sizes - len(END)

    def data(self) -> pa.Buffer:
        """The data file, mapped: entries `SEQUENCE\\n\\0`."""
        if self.n_sequences == 0:
            return pa.py_buffer(b"")
        with pa.memory_map(str(self.database)) as file:
            return file.read_buffer()

    def records(self, columns: list[str]) -> Iterator[pa.Table]:
        """The rows of records.parquet in order, in pieces; keys count within the part."""
        return read_rows(self.folder / "records.parquet", columns)

    def keyed_records(
        self, columns: list[str]
    ) -> Iterator[tuple[pa.Table, np.ndarray, np.ndarray]]:
        """Rows of `records`, their keys (int64), and which of them are the first of their sequence;
        the others are exact copies."""
        last = -1
        for rows in self.records(["key", *columns]):
            key = rows["key"].to_numpy().astype(np.int64)
            is_first = np.diff(key, prepend=last) > 0
            last = key[-1] if len(key) else last
            yield rows, key, is_first

    def digests(self) -> np.ndarray:
        """The digest (uint64) of each sequence, ascending."""
        values = np.empty(self.n_sequences, np.uint64)
        for rows in self.records(["key", "digest"]):
            values[rows["key"].to_numpy()] = rows["digest"].to_numpy()
        return values

    def owners(self) -> np.ndarray:
        """Per sequence the source (int8, place in `Pool.sources`) of its first record."""
        codes = np.empty(self.n_sequences, np.int8)
        for rows, key, first in self.keyed_records(["source"]):
            codes[key[first]] = rows["source"].combine_chunks().indices.to_numpy()[first]
        return codes


@dataclass(frozen=True, eq=False)
class Pool:
    """All parts of a pool, in the order of their sequences."""

    folder: Path
    kind: str
    sources: list[str]
    parts: list[PoolPart]

    @property
    def n_sequences(self) -> int:
        return sum(part.n_sequences for part in self.parts)

    @property
    def n_residues(self) -> int:
        return sum(part.n_residues for part in self.parts)

    @classmethod
    def open(cls, folder: Path | str) -> "Pool":
        """Read part.json of all parts; raises `DedupError` if one is missing or of another pool."""
        folder = Path(folder)
        found = sorted(path.parent for path in folder.glob("part-*/part.json"))
        if not found:
            raise DedupError(f"{folder} holds no part of a pool; pool the cleaned sources first")
        facts = [read_json(path / "part.json") for path in found]
        for path, own in zip(found, facts, strict=True):
            same = all(own.get(what) == facts[0].get(what) for what in _COMMON)
            if not same or own["format"] != FORMAT:
                raise DedupError(f"{path} and {found[0]} are parts of different pools; pool again")
        if [own["part"] for own in facts] != list(range(facts[0]["parts"])):
            raise DedupError(
                f"{folder} has {len(found)} of {facts[0]['parts']} parts; pool the others too"
            )
        first = np.cumsum([0, *(own["sequences"] for own in facts)]).tolist()
        if first[-1] > MAX_SEQUENCES:
            raise DedupError(
                f"{folder} has {first[-1]:,} sequences; MMseqs2 counts {MAX_SEQUENCES:,} at most"
            )
        parts = [
            PoolPart(path, number, first[number], own["sequences"], own["residues"])
            for number, (path, own) in enumerate(zip(found, facts, strict=True))
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
