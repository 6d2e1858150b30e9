"""Numbered shards of limited size, and folders of them that appear whole or not at all."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import atomic, sha256_of, write_json
from plm_scaling.common.progress import logger, short_number
from plm_scaling.config.data import LONGEST_ROW
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.packing import Rows, with_start_tokens
from plm_scaling.tokens.format.shards import FORMAT, ShardWriter, shard_schema

PART_FILE = "part.json"
TOTALS = ("rows", "tokens", "sequences", "padding_tokens")
_NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def part_writer(
    out: Path, corpus: str, kind: str, context_length: int, shard_rows: int, start_token: bool
) -> Iterator["PartWriter"]:
    """Write the folder `out`, which appears when the block succeeds; whatever was there stays else.

    Raises `TokenError` for sizes that cannot be packed to, and if `out` cannot be written.
    """
    made = False
    try:
        with atomic(out) as folder:
            writer = PartWriter(folder, corpus, kind, context_length, shard_rows, start_token)
            folder.mkdir()
            made = True
            with closing(writer):
                yield writer
    except OSError as error:
        if error.errno is None or (made and error.errno not in _NOT_WRITABLE):
            raise
        raise TokenError(
            f"{out} cannot be written: {os.strerror(error.errno)}; make room or choose another "
            "folder, then run again (nothing of this attempt is left)"
        ) from error


def total(listed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    listed = list(listed)
    return {what: sum(one[what] for one in listed) for what in TOTALS}


def log_totals(what: str, totals: Mapping[str, int], context_length: int) -> None:
    """Say how much `what` holds, and how much of it is padding."""
    padding = 100 * totals["padding_tokens"] / max(1, totals["rows"] * context_length)
    logger.info(
        f"[tokens] {what}: {totals['rows']:,} rows, {short_number(totals['tokens'])} tokens of "
        f"{totals['sequences']:,} sequences, {padding:.2f} % padding"
    )


class PartWriter:
    """The shards of a part of a corpus, in `folder`; close it before the folder is removed."""

    def __init__(
        self,
        folder: Path,
        corpus: str,
        kind: str,
        context_length: int,
        shard_rows: int,
        start_token: bool,
    ) -> None:
        if not 2 <= context_length <= LONGEST_ROW or shard_rows < 1:
            raise TokenError(
                f"context length {context_length}, shard rows {shard_rows}: give 2 to "
                f"{LONGEST_ROW} tokens a row, and 1 row or more"
            )
        self.context_length = context_length
        self.folder, self._corpus, self._kind = folder, corpus, kind
        self._shard_rows, self._start_token = shard_rows, start_token
        self._series: dict[tuple[str, str, str], ShardSeries] = {}

    def write(self, place: tuple[str, str, str], tokens: np.ndarray, rows: Rows) -> None:
        """Append packed rows of a split, source and stratum; `tokens` begins with theirs."""
        tokens = tokens[: len(rows.tokens) * self.context_length]
        if self._start_token:
            tokens = with_start_tokens(tokens.reshape(-1, self.context_length)).ravel()
        if place not in self._series:
            schema = shard_schema(self.context_length, self._corpus, self._kind, *place)
            self._series[place] = ShardSeries(
                self.folder, "-".join(place), schema, self._shard_rows
            )
        self._series[place].write(tokens, rows)

    def finish(self, part: int, parts: int) -> None:
        """Complete the shards and write part.json."""
        entries = [
            dict(zip(("split", "source", "stratum"), place, strict=True)) | series.finish()
            for place, series in sorted(self._series.items(), key=lambda item: "-".join(item[0]))
        ]
        facts = {
            "format": FORMAT,
            "corpus": self._corpus,
            "kind": self._kind,
            "context_length": self.context_length,
            **({"start_token": True} if self._start_token else {}),  # older parts have no such key
            "vocabulary_sha256": vocabulary.SHA256,
            "part": part,
            "parts": parts,
            "entries": entries,
        }
        write_json(self.folder / PART_FILE, facts)
        log_totals(f"{self._kind} part {part + 1} of {parts}", total(entries), self.context_length)

    def close(self) -> None:
        for series in self._series.values():
            series.close()


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
        return {**total(self._shards), "shards": self._shards}

    def close(self) -> None:
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
