"""Turn the selected records of one part of a pool into packed token shards.

The sequences stay where they are: lengths decide the packing, Arrow gathers the rows from the
mapped pool, and one table lookup per pair of bytes makes tokens of them. Memory is bounded by one
group of about 65,536 sequences.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.common.progress import Progress
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.packing import pack
from plm_scaling.tokens.write.groups import Entries, Place, read_entries, read_places
from plm_scaling.tokens.write.series import part_writer

CHUNK_TOKENS = 1 << 25  # packed together at most, whatever the lengths
NEAR_BYTES = 1 << 27  # sequences that lie further apart are copied before they are packed
_GATHERED = 1024


def tokenize_part(
    pool: Path,
    selected: Path,
    part: int,
    corpus: str,
    context_length: int,
    shard_rows: int,
    out: Path,
    start_token: bool = False,
) -> None:
    """Pack one part's share of `selected` into rows of `context_length` tokens.

    The folder `out` gets {split}-{source}-{stratum}-{number}.arrow, at most `shard_rows` rows each,
    and part.json. All parts together hold the same rows whatever their number. Raises `TokenError`
    where pool and selection do not fit, or `out` cannot be written.

    Args:
        pool: pool of proteins or of code
        selected: folder of what to tokenise
        part: number of the part, from 0
        corpus: name of the data set, for the metadata
        context_length: tokens per row
        shard_rows: most rows per shard
        out: folder to make
        start_token: put one in front of each sequence
    """
    whole = Pool.open(pool)
    parts = len(whole.parts)
    if not 0 <= part < parts:
        raise TokenError(f"{pool} has parts 0 to {parts - 1}, not {part}")
    table = vocabulary.TABLES[whole.kind]
    with part_writer(out, corpus, whole.kind, context_length, shard_rows, start_token) as writer:
        places = read_places(selected, parts)
        for place, data, starts, lengths in _chunks(whole, part, selected, places):
            pad_at = int(starts[-1] + lengths[-1] + 1)  # the NUL behind the last sequence
            for rows in pack(data, starts, lengths + 1, context_length, pad_at, start_token):
                writer.write(place.names, table.translate(rows.data), rows)
        writer.finish(part, parts)


class _Data:
    """The mapped data of a pool's part, whose pages can be let go."""

    def __init__(self, part: PoolPart) -> None:
        expected = part.n_residues + 2 * part.n_sequences
        size = part.database.stat().st_size
        if size != expected:
            raise TokenError(
                f"{part.database} has {size} bytes, its part.json counts {expected}; pool again"
            )
        with part.database.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer = pa.py_buffer(self._mapped)

    def release(self) -> None:
        """Take the pages out of this process's memory; they are mapped again when read."""
        self._mapped.madvise(mmap.MADV_DONTNEED)


_Stretch = tuple[_Data, Entries]
_Chunk = tuple[Place, pa.Buffer, np.ndarray, np.ndarray]  # place, data, starts, lengths


def _chunks(pool: Pool, part: int, selected: Path, places: list[Place]) -> Iterator[_Chunk]:
    """What is packed together, one chunk after the other, with the data it lies in."""
    parts = len(pool.parts)
    own = [p for p in places if part % p.parts_of_a_group(parts) == 0]
    held: dict[Place, list[_Stretch]] = {place: [] for place in own}
    end = part + max((place.parts_of_a_group(parts) for place in own), default=0)
    label = f"tokens {pool.kind} part {part + 1} of {parts}"
    progress = Progress(label, sum(place.records for place in own) / parts, "records")
    for number in range(part, end):
        active = [place for place in own if number < part + place.parts_of_a_group(parts)]
        data: _Data | None = None
        for entries in read_entries(pool, number, selected, places):
            data = data or _Data(pool.parts[number])
            for place in active:
                if place in entries:
                    held[place].append((data, entries[place]))
                    for group in _complete(place, held[place]):
                        yield from _cut(place, group)
            progress.add(sum(len(entries[place].starts) for place in active if place in entries))
        for place in active:
            if number == part + place.parts_of_a_group(parts) - 1 and held[place]:
                yield from _cut(place, held.pop(place))


def _complete(place: Place, held: list[_Stretch]) -> Iterator[list[_Stretch]]:
    """Take the groups that are complete out of `held`: all but the one that is open at its end."""
    data, entries = held[-1]
    groups = place.group_of(entries.digests)
    previous = place.group_of(held[-2][1].digests[-1:]) if len(held) > 1 else groups[:1]
    starts = np.flatnonzero(np.diff(groups, prepend=previous)).tolist()
    if not starts:
        return
    held.pop()
    pairs = zip([0, *starts], [*starts, len(groups)], strict=True)
    for number, (first, last) in enumerate(pairs):
        if number > 0:
            yield held[:]
            held.clear()
        if first < last:
            held.append((data, Entries(*(column[first:last] for column in entries))))


def _cut(place: Place, group: list[_Stretch]) -> Iterator[_Chunk]:
    """Chunks of a group of at most `CHUNK_TOKENS` tokens (or one sequence) each."""
    lengths = np.concatenate([entries.lengths for _, entries in group])
    number = np.cumsum(lengths + 1) // CHUNK_TOKENS
    edges = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    origins = np.cumsum([0, *(len(entries.lengths) for _, entries in group)]).tolist()
    for first, last in zip(edges, [*edges[1:], len(lengths)], strict=True):
        pieces = []
        for (data, entries), origin in zip(group, origins[:-1], strict=True):
            inside = slice(max(0, first - origin), max(0, last - origin))
            if len(entries.starts[inside]):
                pieces.append((data, entries.starts[inside], entries.lengths[inside]))
        data = pieces[0][0]
        starts = np.concatenate([starts for _, starts, _ in pieces])
        own = np.concatenate([lengths for _, _, lengths in pieces])
        if all(other is data for other, _, _ in pieces) and starts[-1] - starts[0] < NEAR_BYTES:
            yield place, data.buffer, starts, own
            data.release()
        else:
            yield place, _gather(pieces), np.cumsum(own + 2) - own - 2, own


def _gather(pieces: list[tuple[_Data, np.ndarray, np.ndarray]]) -> pa.Buffer:
    """Copy entries to one buffer, in their order, few at a time: each may map 64 KiB."""
    joined = []
    for data, starts, lengths in pieces:
        view = memoryview(data.buffer)
        bounds = list(zip(starts.tolist(), (starts + lengths + 2).tolist(), strict=True))
        for i in range(0, len(bounds), _GATHERED):
            joined.append(b"".join([view[a:b] for a, b in bounds[i : i + _GATHERED]]))
            data.release()
    return pa.py_buffer(b"".join(joined))
