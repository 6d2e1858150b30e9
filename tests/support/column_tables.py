"""Sequences in Parquet files, Arrow files and Arrow streams."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LAYOUTS = ("parquet", "arrow_file", "arrow_stream")


def write_columns(path: Path, table: pa.Table, layout: str, rows: int = 1 << 20) -> Path:
    """Write the table with at most `rows` in a row group or record batch."""
    if layout == "parquet":
        pq.write_table(table, path, row_group_size=rows, write_page_checksum=True)
        return path
    new = pa.ipc.new_file if layout == "arrow_file" else pa.ipc.new_stream
    with new(str(path), table.schema) as writer:
        writer.write_table(table, rows)
    return path
