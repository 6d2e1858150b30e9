"""What is packed together: groups that depend only on content, never on the number of parts.

The records of one split, source and stratum form a *place*. Its records are divided into a power
of two of groups by the first bits of their digest, as many as its number of records over all parts
asks for. A part packs the groups that begin in its range; where a group is wider than a part, its
first part reads the others too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import read_json
from plm_scaling.common.parts import DIGEST_BITS, part_name
from plm_scaling.common.rows import read_rows
from plm_scaling.pool.database import END
from plm_scaling.pool.read import Pool, PoolPart

GROUP_RECORDS = 1 << 16
COLUMNS = ["split", "source", "stratum"]


@dataclass(frozen=True)
class Place:
    """One split, source and stratum, and its number of records over all parts."""

    split: str
    source: str
    stratum: str
    records: int

    @property
    def names(self) -> tuple[str, str, str]:
        return self.split, self.source, self.stratum

    @property
    def group_bits(self) -> int:
        """There are 2^`group_bits` groups, of about 65,536 records at most."""
        return max(0, (self.records - 1) // GROUP_RECORDS).bit_length()

    def parts_of_a_group(self, parts: int) -> int:
        """Over how many parts, of `parts` in all, a group of this place reaches."""
        return max(1, parts >> self.group_bits)

    def group_of(self, digests: np.ndarray) -> np.ndarray:
        if self.group_bits == 0:
            return np.zeros(len(digests), np.uint64)
        return digests >> np.uint64(DIGEST_BITS - self.group_bits)


class Entries(NamedTuple):
    """Records of one place in order of digest: where their sequences lie in the part's data."""

    starts: np.ndarray  # bytes
    lengths: np.ndarray  # residues
    digests: np.ndarray


def selected_part(selected: Path, part: int) -> Path:
    return selected / f"{part_name(part)}.parquet"


def read_places(selected: Path, parts: int) -> list[Place]:
    """The places of a selection, from its totals.json, in order of their names.

    Raises `TokenError` if a part is missing or the parts do not hold as many records as it says.
    """
    totals = selected / "totals.json"
    again = "select again"
    if not totals.is_file():
        raise TokenError(f"{totals} does not exist; {again}")
    try:
        places = [
            Place(**{name: row[name] for name in (*COLUMNS, "records")})
            for row in read_json(totals)
        ]
        found = 0
        for path in (selected_part(selected, part) for part in range(parts)):
            found += pq.read_metadata(path).num_rows
    except FileNotFoundError as error:
        raise TokenError(f"{path} is missing: {parts} parts are needed; {again}") from error
    except (pa.ArrowException, OSError) as error:
        raise TokenError(f"{path} is no readable table ({error}); {again}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise TokenError(f"{totals} is no table of totals ({error!r}); {again}") from error
    if found != sum(place.records for place in places):
        raise TokenError(
            f"{totals} counts {sum(place.records for place in places):,} records, the parts beside "
            f"it hold {found:,}; {again}"
        )
    return sorted(places, key=lambda place: "-".join(place.names))


def read_entries(
    pool: Pool, part: int, selected: Path, places: list[Place]
) -> Iterator[dict[Place, Entries]]:
    """The entries of one part, some hundred thousand records at a time, by place.

    Raises `TokenError` where the selection and the pool or the totals disagree.
    """
    path = selected_part(selected, part)
    own = pool.parts[part]
    stretches = _stretches(own)
    first, held = 0, Entries(*(np.empty(0, np.int64) for _ in Entries._fields))
    last = 0
    for rows in read_rows(path, ["key", *COLUMNS]):
        keys = rows["key"].to_numpy().astype(np.int64) - own.first_key
        if len(keys) == 0:
            continue
        if keys[0] < last or (np.diff(keys) < 0).any() or keys[-1] >= own.n_sequences:
            raise TokenError(
                f"{path} does not belong to {own.folder}: its keys do not ascend from "
                f"{own.first_key} to below {own.first_key + own.n_sequences}; select again"
            )
        last = keys[-1]
        codes = _codes(rows, places, path)
        while len(keys):
            n = np.searchsorted(keys, first + len(held.starts))
            if n:
                yield _by_place(held, keys[:n] - first, codes[:n], places)
                keys, codes = keys[n:], codes[n:]
            if len(keys):
                first += len(held.starts)
                held = next(stretches)


def _stretches(part: PoolPart) -> Iterator[Entries]:
    """All sequences of the part in order, in stretches."""
    end = 0
    for rows, _, is_first in part.keyed_records(["length", "digest"]):
        lengths = rows["length"].to_numpy()[is_first].astype(np.int64)
        ends = end + np.cumsum(lengths + len(END))
        if len(ends):
            end = ends[-1]
            yield Entries(ends - lengths - len(END), lengths, rows["digest"].to_numpy()[is_first])


def _codes(rows: pa.Table, places: list[Place], path: Path) -> np.ndarray:
    """The number of each row's place."""
    columns = [rows[name].combine_chunks().dictionary_encode() for name in COLUMNS]
    names = [column.dictionary.to_pylist() for column in columns]
    table = np.full([len(values) for values in names], -1, np.int16)
    for number, place in enumerate(places):
        pairs = list(zip(place.names, names, strict=True))
        if all(name in known for name, known in pairs):
            table[tuple(known.index(name) for name, known in pairs)] = number
    codes = table[tuple(column.indices.to_numpy() for column in columns)]
    if (codes < 0).any():
        row = rows.slice(int(np.argmin(codes)), 1).to_pylist()[0]
        raise TokenError(
            f"{path} holds records of {', '.join(str(row[c]) for c in COLUMNS)}, which totals.json "
            "beside it does not name; select again"
        )
    return codes


def _by_place(
    held: Entries, index: np.ndarray, codes: np.ndarray, places: list[Place]
) -> dict[Place, Entries]:
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(places) + 1))
    chosen = {
        place: index[order[edges[number] : edges[number + 1]]]
        for number, place in enumerate(places)
        if edges[number] < edges[number + 1]
    }
    return {place: Entries(*(column[i] for column in held)) for place, i in chosen.items()}
