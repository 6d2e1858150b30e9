"""Straight from FASTA files to packed shards, for sequences that need no deduplication or filter.

Headers are replaced by one regular expression and residues by one `bytes.translate` per chunk of
about 1 MiB; only a chunk with something unusual is looked at record by record.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import EXISTS, remove
from plm_scaling.sources.read.alphabet import Beginning
from plm_scaling.sources.read.fasta import parse_records, read_fasta, skip_top, whole_records
from plm_scaling.sources.read.inputs import Survey, readable
from plm_scaling.sources.read.streams import blocks, counting, open_stream, progress_of, read_again
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.packing import pack
from plm_scaling.tokens.write.groups import GROUP_RECORDS
from plm_scaling.tokens.write.merge import write_manifest
from plm_scaling.tokens.write.series import PART_FILE, part_writer
from plm_scaling.tokens.write.tokenize import CHUNK_TOKENS

# Every header line with a plain name becomes NUL, which becomes eod; any other `>` is left.
_HEADER = re.compile(rb">(?<![^\n]>)[!-~]++(?:[ \t\r\1][^\n]*+)?+\n")
_EOD, _BAD = vocabulary.EOD, 255
_TABLE = bytes(
    _EOD if byte == 0 else vocabulary.RESIDUE_ID.get(chr(byte).upper(), _BAD)
    if byte < 128 else _BAD
    for byte in range(256)
)  # fmt: skip
_DELETED = b"\n\r \t"
BLOCK_BYTES = 1 << 19


def tokenize_fasta(
    fasta: list[Path],
    valid: list[Path],
    source: str,
    corpus: str,
    context_length: int,
    shard_rows: int,
    out: Path,
    start_token: bool = False,
    skip_bad: bool = False,
) -> Survey:
    """Pack the sequences of `fasta` (plain, gzip, zstd or xz) for training, of `valid` to hold out.

    Folders stand for the FASTA files in them, `-` for standard input. They keep their order, in
    windows of 65,536 that are packed together. The folder `out` gets shards and manifest.json.
    Raises `TokenError` if it exists, and `SourceError` after all was read if there are records that
    cannot be used (see `Survey`), unless they are to be skipped (`skip_bad`). `start_token` puts
    one in front of each sequence.
    """
    if out.exists():
        raise TokenError(f"{out} {EXISTS}")
    survey = Survey(out, skip_bad)
    with (
        readable(fasta, "fasta") as train,
        readable(valid, "fasta") as held_out,
        part_writer(out, corpus, "protein", context_length, shard_rows, start_token) as writer,
        counting(progress_of("tokenize", [*train, *held_out])),
    ):
        for path in held_out:
            if any(path.samefile(other) for other in train if path.exists() and other.exists()):
                raise TokenError(
                    f"{path} is given both to train on and to hold out; give another file"
                )

        @cache
        def look() -> None:
            """Look at all files, once, when there is a record that cannot be used."""
            read_again([*train, *held_out])
            for _ in survey.of(read_fasta([*train, *held_out])):
                pass

        for split, paths in {"train": train, "valid": held_out}.items():
            for tokens, starts, lengths in _windows(paths, look):
                last = tokens.size - 1
                for rows in pack(tokens, starts, lengths, context_length, last, start_token):
                    writer.write((split, source, "kept"), np.frombuffer(rows.data, np.uint8), rows)
        writer.finish(0, 1)
        files = {"train": [str(path) for path in fasta], "valid": [str(path) for path in valid]}
        write_manifest(
            [writer.folder / PART_FILE], {"fasta": files}, writer.folder / "manifest.json"
        )
    if not survey.rejected:
        remove(survey.list)
    return survey


def _windows(
    paths: list[Path], look: Callable[[], None]
) -> Iterator[tuple[pa.Buffer, np.ndarray, np.ndarray]]:
    """Tokens, starts and lengths of some ten thousand sequences at a time."""
    buffer = np.empty(CHUNK_TOKENS, np.uint8)  # used again
    ends: list[np.ndarray] = []
    size = sequences = 0
    for path in paths:
        beginning = Beginning(path)
        for tokens, begins in _chunks(path, look):
            if not beginning.is_judged:
                beginning.add(vocabulary.decode(tokens).encode())
            new = np.frombuffer(tokens, np.uint8)
            if size + len(new) + 2 > len(buffer):
                buffer = np.concatenate([buffer, np.empty(size + len(new), np.uint8)])
            buffer[size : size + len(new)] = new
            ends.append(begins + size)
            size += len(new)
            sequences += len(begins)
            if sequences >= GROUP_RECORDS or size >= CHUNK_TOKENS // 2:
                yield _window(buffer, size, ends)
                ends, size, sequences = [], 0, 0
        beginning.end()
    if size:
        yield _window(buffer, size, ends)


def _window(
    buffer: np.ndarray, size: int, ends: list[np.ndarray]
) -> tuple[pa.Buffer, np.ndarray, np.ndarray]:
    """The buffer with the last eod and a pad, and what `_windows` yields of it."""
    buffer[size : size + 2] = _EOD, vocabulary.PAD
    all_ends = np.append(np.concatenate(ends), size)
    return pa.py_buffer(buffer).slice(0, size + 2), all_ends[:-1] + 1, np.diff(all_ends)


def _chunks(path: Path, look: Callable[[], None]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Tokens of whole records, each with eod in front, and the places of these.

    `look` is called before records that cannot be used are left out.
    """
    with open_stream(path) as stream:
        pieces, *_ = skip_top(blocks(stream, path, BLOCK_BYTES), path)
        for chunk in whole_records(pieces, path):
            body, count = _HEADER.subn(b"\0", chunk)
            tokens = body.translate(_TABLE, _DELETED)
            begins = _places(tokens)
            lengths = np.diff(begins, append=len(tokens))
            if _BAD in tokens or len(begins) != count or lengths.min(initial=2) < 2:
                records = parse_records(chunk)
                if records.rejected:
                    look()
                sequences = b"".join(b"\0" + sequence for sequence in records.sequences)
                tokens = sequences.translate(_TABLE)
                begins = _places(tokens)
            yield tokens, begins


def _places(tokens: bytes) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(tokens, np.uint8) == _EOD)
