"""Tables of results by the ending of their names: CSV, TSV, Parquet and Arrow IPC; - is TSV on
standard output.

Importing it loads no Arrow: the command line checks endings before anything heavy is loaded.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORMATS = (".csv", ".tsv", ".parquet", ".arrow")
STDOUT = Path("-")
PARQUET, ARROW = b"PAR1", b"ARROW1"  # first bytes of such files

Write = Callable[["pa.RecordBatch"], None]


def wrong_ending(path: Path, endings: Sequence[str] = FORMATS) -> str | None:
    """What is wrong with the name of what is to be written; None if it ends in one of these."""
    if path.suffix.lower() in endings:
        return None
    *others, last = endings
    return f"the name must end in {', '.join(others)}{' or ' if others else ''}{last}"


def check_table(path: Path) -> None:
    """Raises `PlmScalingError` if no table of that name can be written."""
    if path != STDOUT and (fault := wrong_ending(path)):
        raise PlmScalingError(f"{path}: {fault}")


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """A function that appends record batches to the table; a file appears whole or not at all.

    In text, lists are JSON and null is empty; the schema's metadata are only in Parquet and Arrow.
    """
    check_table(path)
    if path == STDOUT:
        yield _text_writer(sys.stdout, "\t", schema)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    ending = path.suffix.lower()
    with atomic(path) as temporary:
        if ending == ".parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as parquet:
                yield parquet.write_batch
        elif ending == ".arrow":
            with pa.ipc.new_file(str(temporary), schema) as arrow:
                yield arrow.write_batch
        else:
            with temporary.open("w", newline="") as text:
                yield _text_writer(text, "\t" if ending == ".tsv" else ",", schema)


def convert_parquet(path: Path, out: Path) -> None:
    """Write the rows of a Parquet file to the table `out`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, table_writer(out, file.schema_arrow) as write:
        for batch in file.iter_batches():
            write(batch)


def _text_writer(file: TextIO, separator: str, schema: pa.Schema) -> Write:
    lines = csv.writer(file, delimiter=separator, lineterminator="\n")
    lines.writerow(schema.names)
    return lambda batch: lines.writerows(
        map(_cells, zip(*(column.to_pylist() for column in batch), strict=True))
    )


def _cells(row: tuple[object, ...]) -> list[object]:
    return [json.dumps(value) if isinstance(value, list) else value for value in row]


def binary_frame(content: bytes) -> pd.DataFrame:
    """The table in the bytes of a Parquet or Arrow file; raises ValueError where it is damaged."""
    import pandas as pd
    import pyarrow as pa

    if content.startswith(PARQUET):
        return pd.read_parquet(io.BytesIO(content))
    frame: pd.DataFrame = pa.ipc.open_file(content).read_pandas()
    return frame
