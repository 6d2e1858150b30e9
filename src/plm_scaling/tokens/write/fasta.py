"""Straight from FASTA files to packed shards, for sequences that need no deduplication or filter.

Headers are replaced by one regular expression and residues by one `bytes.translate` per chunk of
about 1 MiB; only a chunk with something unusual is looked at record by record.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.sources.read.alphabet import Beginning
from plm_scaling.sources.read.fasta import MAX_RECORD_BYTES, parse_records, read_sound
from plm_scaling.sources.read.streams import blocks, open_stream
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.packing import pack
from plm_scaling.tokens.write.groups import GROUP_RECORDS
from plm_scaling.tokens.write.merge import write_manifest
from plm_scaling.tokens.write.series import PART_FILE, part_writer
from plm_scaling.tokens.write.tokenize import CHUNK_TOKENS

# Every header line becomes NUL, which becomes eod; a `>` that is left is inside a line.
_HEADER = re.compile(rb"\n>[^\n]*\n")
_EOD, _BAD = vocabulary.EOD, 255
_TABLE = bytes(
    _EOD if byte == 0 else vocabulary.RESIDUE_ID.get(chr(byte).upper(), _BAD)
    if byte < 128 else _BAD
    for byte in range(256)
)  # fmt: skip
_DELETED = b"\n\r \t"
BLOCK_BYTES = 1 << 19
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def tokenize_fasta(
    fasta: list[Path],
    valid: list[Path],
    source: str,
    corpus: str,
    context_length: int,
    shard_rows: int,
    out: Path,
    start_token: bool = False,
) -> None:
    """Pack the sequences of `fasta` (plain, gzip, zstd or xz) for training, of `valid` to hold out.

    They keep their order, in windows of 65,536 that are packed together. The folder `out` gets
    shards and manifest.json. Raises `TokenError` if it exists, and that or `SourceError`, naming
    file and line, for a record that is no protein. `start_token` puts one in front of each
    sequence.
    """
    if out.exists():
        raise TokenError(f"{out} exists; remove it or give a folder that is to be made")
    splits = {"train": fasta, "valid": valid}
    with part_writer(out, corpus, "protein", context_length, shard_rows, start_token) as writer:
        for split, paths in splits.items():
            for tokens, starts, lengths in _windows(paths):
                last = tokens.size - 1
                for rows in pack(tokens, starts, lengths, context_length, last, start_token):
                    writer.write((split, source, "kept"), np.frombuffer(rows.data, np.uint8), rows)
        writer.finish(0, 1)
        files = {split: [str(path) for path in paths] for split, paths in splits.items()}
        write_manifest(
            [writer.folder / PART_FILE], {"fasta": files}, writer.folder / "manifest.json"
        )


def _windows(paths: list[Path]) -> Iterator[tuple[pa.Buffer, np.ndarray, np.ndarray]]:
    """Tokens, starts and lengths of some ten thousand sequences at a time."""
    buffer = np.empty(CHUNK_TOKENS, np.uint8)  # used again
    ends: list[np.ndarray] = []
    size = sequences = 0
    for path in paths:
        beginning = Beginning(path)
        for tokens, count in _chunks(path):
            if not beginning.is_judged:
                beginning.add(vocabulary.decode(tokens).encode())
            # Each sequence has its eod in front, and with the one behind the last also behind it.
            new = np.frombuffer(tokens, np.uint8)
            if size + len(new) + 2 > len(buffer):
                buffer = np.concatenate([buffer, np.empty(size + len(new), np.uint8)])
            buffer[size : size + len(new)] = new
            ends.append(np.flatnonzero(new == _EOD) + size)
            size += len(new)
            sequences += count
            if sequences >= GROUP_RECORDS or size >= CHUNK_TOKENS // 2:
                yield _window(buffer, size, ends, sequences, paths)
                ends, size, sequences = [], 0, 0
        beginning.end()
    if size:
        yield _window(buffer, size, ends, sequences, paths)


def _window(
    buffer: np.ndarray, size: int, ends: list[np.ndarray], sequences: int, paths: list[Path]
) -> tuple[pa.Buffer, np.ndarray, np.ndarray]:
    """The buffer with the last eod and a pad, and what `_windows` yields of it."""
    buffer[size : size + 2] = _EOD, vocabulary.PAD
    all_ends = np.append(np.concatenate(ends), size)
    lengths = np.diff(all_ends)
    if len(lengths) != sequences or lengths.min() < 2:
        _explain(paths)
    return pa.py_buffer(buffer).slice(0, size + 2), all_ends[:-1] + 1, lengths


def _chunks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Tokens of whole records, each with eod in front, and how many records they are."""
    rest = b""
    with open_stream(path) as stream:
        for block in blocks(stream, path, BLOCK_BYTES):
            data = rest + block if rest else b"\n" + block.removeprefix(_BYTE_ORDER_MARK).lstrip()
            cut = data.rfind(b"\n>")
            if cut > 0:
                yield _translate(data[: cut + 1], path)
            rest = data[max(0, cut) :]
            if len(rest) > MAX_RECORD_BYTES:
                _explain([path])
    yield _translate(rest + b"\n", path)


def _translate(chunk: bytes, path: Path) -> tuple[bytes, int]:
    """`chunk` begins with a line end and a header."""
    body, count = _HEADER.subn(b"\0", chunk)
    tokens = body.translate(_TABLE, _DELETED)
    if _BAD not in tokens and tokens.startswith(bytes([_EOD])):
        return tokens, count
    records = parse_records(chunk[1:]) if chunk.startswith(b"\n>") else None
    if records is None or records.rejected:
        _explain([path])
    sequences = b"".join(b"\0" + sequence for sequence in records.sequences)
    return sequences.translate(_TABLE), len(records.ids)


def _explain(paths: list[Path]) -> NoReturn:
    """Raise the error that names the first record that cannot be used."""
    for path in paths:
        for _ in read_sound(path):
            pass
    raise TokenError(f"{', '.join(map(str, paths))}: unreadable FASTA")
