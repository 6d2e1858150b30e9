"""Per-sequence tables in Parquet, written and read in pieces, in the order of keys."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def read_rows(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Yield the rows in order, one table per batch."""
    for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
        yield pa.Table.from_batches([batch])


def read_all(path: Path, columns: list[str]) -> pa.Table:
    """All rows as one table, for the few columns that fit into memory."""
    return pq.ParquetFile(path).read(columns, use_threads=False).combine_chunks()
