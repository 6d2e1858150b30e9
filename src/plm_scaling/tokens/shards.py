"""Write and open one shard: an Arrow IPC file with one column and one record batch.

The rows are spooled to a plain file first, so that memory does not grow with the shard, and then
written from a memory map of it. Uncompressed, so that a reader maps the file and sees the rows.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from plm_scaling.errors import TokenError
from plm_scaling.tokens import vocabulary

FORMAT = "plm-scaling tokens 1"
COLUMN = "tokens"
METADATA_KEY = b"plm-scaling"


def schema(context_length: int, corpus: str, source: str, split: str, seed: int) -> pa.Schema:
    """The schema of a shard, with what it holds as metadata."""
    facts = {
        "format": FORMAT,
        "vocabulary_sha256": vocabulary.SHA256,
        "context_length": context_length,
        "corpus": corpus,
        "source": source,
        "split": split,
        "seed": seed,
    }
    field = pa.field(COLUMN, pa.list_(pa.uint8(), context_length), nullable=False)
    return pa.schema([field], metadata={METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})


class ShardSpool:
    """Rows of the shard that is being filled, in a plain file."""

    def __init__(self, path: Path, context_length: int) -> None:
        self._path = path
        self._context_length = context_length
        self._file: BinaryIO = path.open("wb")
        self.rows = 0

    def write(self, rows: np.ndarray) -> None:
        """Append rows (n, context_length)."""
        self._file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def finish(self, shard: Path, shard_schema: pa.Schema) -> None:
        """Write the rows to an Arrow file and start over."""
        self._file.flush()
        with pa.memory_map(str(self._path)) as source:
            values = pa.UInt8Array.from_buffers(
                pa.uint8(), self.rows * self._context_length, [None, source.read_buffer()]
            )
            array = pa.FixedSizeListArray.from_arrays(values, self._context_length)
            batch = pa.RecordBatch.from_arrays([array], schema=shard_schema)
            with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, shard_schema) as writer:
                writer.write_batch(batch)
        self._file.seek(0)
        self._file.truncate()
        self.rows = 0

    def __enter__(self) -> "ShardSpool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def open_shard(path: Path, context_length: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows (n, context_length) as a view of the mapped file, and the shard's metadata.

    Raises `TokenError` naming the file if it is damaged or of another format, vocabulary or row.
    """
    again = "make the tokens again (rule tokenize)"
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        facts = json.loads((reader.schema.metadata or {})[METADATA_KEY])
        if reader.num_record_batches != 1:
            raise TokenError(f"{path} has {reader.num_record_batches} record batches; {again}")
        column = reader.get_batch(0).column(0)
    except FileNotFoundError as error:
        raise TokenError(f"{path} does not exist; {again}") from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise TokenError(f"{path} is no readable token shard ({error}); {again}") from error
    expected = {
        "format": FORMAT,
        "vocabulary_sha256": vocabulary.SHA256,
        "context_length": context_length,
    }
    for what, value in expected.items():
        if facts.get(what) != value:
            raise TokenError(f"{path}: {what} is {facts.get(what)!r}, expected {value!r}; {again}")
    return np.asarray(column.values).reshape(-1, context_length), facts
