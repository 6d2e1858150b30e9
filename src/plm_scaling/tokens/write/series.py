"""Numbered shards of limited size, and folders of them that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import atomic, sha256_of
from plm_scaling.tokens.format.packing import Rows
from plm_scaling.tokens.format.shards import ShardWriter

TOTALS = ("rows", "tokens", "sequences", "padding_tokens")
_NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """A new folder under a temporary name, renamed to `out` when the block succeeds.

    Raises `TokenError` naming `out` when the disk is full or may not be written to; whatever was at
    `out` stays.
    """
    made = False
    try:
        with atomic(out) as folder:
            folder.mkdir()
            made = True
            yield folder
    except OSError as error:
        if error.errno is None or (made and error.errno not in _NOT_WRITABLE):
            raise
        raise TokenError(
            f"{out} cannot be written: {os.strerror(error.errno)}; make room or choose another "
            "folder, then run again (nothing of this attempt is left)"
        ) from error


class ShardSeries:
    """Shards `{name}-00000.arrow`, … in `folder`, each of `shard_rows` rows but the last."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, shard_rows: int) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._shard_rows = shard_rows
        self._writer: ShardWriter | None = None
        self._shard: dict[str, Any] = {}
        self._shards: list[dict[str, Any]] = []

    def write(self, tokens: np.ndarray, rows: Rows) -> None:
        """Append packed rows: `tokens` is what `rows.data` translates to."""
        n, first = len(rows.tokens), 0
        if n == 0:
            return
        width = len(tokens) // n
        while first < n:
            writer = self._writer or self._open()
            last = min(n, first + self._shard_rows - writer.rows)
            writer.write(tokens[first * width : last * width])
            used = int(rows.tokens[first:last].sum())
            self._shard["rows"] += last - first
            self._shard["tokens"] += used
            self._shard["sequences"] += int(rows.sequences[first:last].sum())
            self._shard["padding_tokens"] += (last - first) * width - used
            if writer.rows == self._shard_rows:
                self._finish_shard(writer)
            first = last

    def finish(self) -> dict[str, Any]:
        """Complete the last shard; totals and the list of shards."""
        if self._writer is not None:
            self._finish_shard(self._writer)
        return {
            **{what: sum(shard[what] for shard in self._shards) for what in TOTALS},
            "shards": self._shards,
        }

    def close(self) -> None:
        """Let go of an unfinished shard."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> ShardWriter:
        path = f"{self._name}-{len(self._shards):05d}.arrow"
        self._shard = {"path": path, **dict.fromkeys(TOTALS, 0)}
        self._writer = ShardWriter(self._folder / path, self._schema)
        return self._writer

    def _finish_shard(self, writer: ShardWriter) -> None:
        writer.finish()
        self._shard["bytes"] = writer.path.stat().st_size
        self._shard["sha256"] = sha256_of(writer.path)
        self._shards.append(self._shard)
        self._writer = None
