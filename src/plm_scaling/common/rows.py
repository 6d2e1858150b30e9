"""Per-sequence tables in Parquet, written and read in pieces, in the order of keys."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 18


class RowWriter:
    """Write tables of one schema to a Parquet file, gathered into large row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows = 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        self._held: list[pa.Table] = []
        self._held_rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; columns are cast to the schema."""
        self._held.append(table.select(self.schema.names).cast(self.schema))
        self._held_rows += len(table)
        self.rows += len(table)
        if self._held_rows >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._held_rows = [], 0

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def read_rows(path: Path, columns: list[str] | None = None, **equals: str) -> Iterator[pa.Table]:
    """Yield the rows in order, one table per batch, only those where each column equals its value.

    `read_rows(path, ["key"], split="train")` yields the keys of the training split.
    """
    file = pq.ParquetFile(path)
    wanted = None if columns is None else list(dict.fromkeys([*columns, *equals]))
    for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=wanted):
        table = pa.Table.from_batches([batch])
        for column, value in equals.items():
            table = table.filter(pc.equal(table[column], value))
        yield table if columns is None else table.select(columns)


def read_all(path: Path, columns: list[str], **equals: str) -> pa.Table:
    """All matching rows as one table, for the few columns that fit into memory."""
    tables = list(read_rows(path, columns, **equals))
    return pa.concat_tables(tables).combine_chunks()


class RowCursor:
    """Take the next n rows, whatever the batches of the file are."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._held: pa.Table | None = None

    def take(self, n: int) -> pa.Table:
        """The next `n` rows; raises `EOFError` if there are fewer."""
        pieces = [] if self._held is None else [self._held]
        while sum(map(len, pieces)) < n:
            following = next(self._tables, None)
            if following is None:
                raise EOFError(f"the table has fewer rows than asked for ({n} more)")
            pieces.append(following)
        joined = pa.concat_tables(pieces)
        self._held = joined.slice(n)
        return joined.slice(0, n)
