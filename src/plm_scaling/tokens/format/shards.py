"""Write and open one shard: an Arrow IPC file with one column and one record batch.

Uncompressed, so that a reader maps the file and sees the rows. The number of rows stands in front
of them and is known last: the rows are written behind the room that the head needs, and the head,
like the foot, is what Arrow's own writer makes of the finished rows. So each row is written once
and memory does not grow with the shard.
"""

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from plm_scaling.common.errors import TokenError
from plm_scaling.tokens.format import vocabulary

FORMAT = "plm-scaling tokens 2"
COLUMN = "tokens"
METADATA_KEY = b"plm-scaling"
AGAIN = "make the tokens again (rules tokenize_part and merge_tokens)"


def shard_schema(
    context_length: int, corpus: str, kind: str, split: str, source: str, stratum: str
) -> pa.Schema:
    """The schema of a shard, with what it holds as metadata."""
    facts = {
        "format": FORMAT,
        "vocabulary_sha256": vocabulary.SHA256,
        "context_length": context_length,
        "corpus": corpus,
        "kind": kind,
        "split": split,
        "source": source,
        "stratum": stratum,
    }
    field = pa.field(COLUMN, pa.list_(pa.uint8(), context_length), nullable=False)
    return pa.schema([field], metadata={METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})


class ShardWriter:
    """A shard that grows by rows. It is no Arrow file before `finish`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._context_length = schema.field(COLUMN).type.list_size
        self._head_bytes = len(self._frame(pa.py_buffer(bytes(self._context_length)), 1)[0])
        self._file = path.open("wb+")
        self._file.write(bytes(self._head_bytes))

    def write(self, tokens: np.ndarray) -> None:
        """Append whole rows: uint8 (n × context_length)."""
        self._file.write(tokens.data)
        self.rows += len(tokens) // self._context_length

    def finish(self) -> None:
        self._file.flush()
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            rows = pa.py_buffer(mapped).slice(self._head_bytes)
            head, foot = self._frame(rows, self.rows)
            del rows  # or the map cannot be closed
        assert len(head) == self._head_bytes
        self._file.write(foot)
        self._file.seek(0)
        self._file.write(head)
        self.close()

    def close(self) -> None:
        self._file.close()

    def _frame(self, values: pa.Buffer, n_rows: int) -> tuple[bytes, bytes]:
        """What stands before and behind the rows in the file."""
        row = self._context_length
        tokens = pa.UInt8Array.from_buffers(pa.uint8(), n_rows * row, [None, values])
        column = pa.FixedSizeListArray.from_arrays(tokens, row)
        frame = _Frame()
        with pa.ipc.new_file(pa.PythonFile(frame, "w"), self._schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([column], schema=self._schema))
        return bytes(frame.head), bytes(frame.foot)


class _Frame:
    """A file that keeps what is written to it but the rows, which Arrow passes as they lie."""

    closed = False

    def __init__(self) -> None:
        self.head = bytearray()
        self.foot = bytearray()
        self._rows_seen = False

    def write(self, data: bytes | pa.Buffer) -> int:
        if isinstance(data, pa.Buffer):
            self._rows_seen = True
        else:
            (self.foot if self._rows_seen else self.head).extend(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_shard(path: Path, context_length: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows (n, context_length), mapped, and the metadata; see `read_shard`."""
    if not path.is_file():
        raise TokenError(f"{path} does not exist; {AGAIN}")
    try:
        data = pa.memory_map(str(path)).read_buffer()
    except (pa.ArrowException, OSError) as error:
        raise TokenError(f"{path} is no readable token shard ({error}); {AGAIN}") from error
    values, rows, facts = read_shard(data, path, context_length)
    return np.frombuffer(values, np.uint8).reshape(rows, facts["context_length"]), facts


def read_shard(
    data: pa.Buffer, path: Path, context_length: int | None
) -> tuple[pa.Buffer, int, dict[str, Any]]:
    """The rows in the `data` of a shard, their number, and the metadata. Raises `TokenError`
    if it is damaged, of another format or vocabulary, or not of `context_length`."""
    try:
        reader = pa.ipc.open_file(pa.BufferReader(data))
        facts = json.loads((reader.schema.metadata or {})[METADATA_KEY])
        if reader.num_record_batches != 1:
            raise TokenError(f"{path} has {reader.num_record_batches} record batches; {AGAIN}")
        column = reader.get_batch(0).column(0)
        row = column.type.list_size
        values = column.values.buffers()[1]
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise TokenError(f"{path} is no readable token shard ({error}); {AGAIN}") from error
    expected = {"format": FORMAT, "vocabulary_sha256": vocabulary.SHA256, "context_length": row}
    if context_length is not None:
        expected["context_length"] = context_length
    for what, value in expected.items():
        if facts.get(what) != value:
            raise TokenError(f"{path}: {what} is {facts.get(what)!r}, expected {value!r}; {AGAIN}")
    if values.size < len(column) * row:
        raise TokenError(f"{path} is damaged: its rows are cut short; {AGAIN}")
    return values.slice(0, len(column) * row), len(column), facts
