"""Streaming FASTA parser on whole chunks of bytes.

One regular expression and one `bytes.translate` per chunk of about 1 MiB do the work (chunks of
this size stay in the cache); records are looked at one by one only in a chunk that holds something
unusual. Plain and gzip files are told apart by their first bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np
from Bio.Data.IUPACData import extended_protein_letters
from isal import igzip
from isal.isal_zlib import IsalError

from plm_scaling.errors import SourceError

CHUNK_BYTES = 1 << 20
RESIDUES = extended_protein_letters.encode()  # 20 amino acids and B X Z J U O
GZIP_MAGIC = b"\x1f\x8b"

# `>sp|ACC|NAME …` and `>tr|ACC|NAME …` are called by their accession, others by their first word.
_HEADER = re.compile(rb">(?:(?:sp|tr)\|([^|\s]+)\|)?(\S*)[^\n]*\n")
_ILLEGAL = 0
_KEPT = RESIDUES + RESIDUES.lower() + b">*"
# Blanks and line ends are deleted by `translate`; what is no residue becomes NUL, found by memchr.
_TABLE = bytes(c if c in _KEPT else _ILLEGAL for c in range(256))
_DELETED = b"\n \t"


@dataclass
class Records:
    """Consecutive records: `ids[i]` names the upper-case residues `sequences[i]`.

    `handled` maps what was mended (lower_case, windows_line_ends, trailing_star) to the numbers of
    records and residues concerned.
    """

    ids: list[bytes]
    sequences: list[bytes]
    handled: dict[str, tuple[int, int]] = field(default_factory=dict)


def open_fasta(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """The decompressed stream and the raw file below it (the same object for a plain file).

    Raises `SourceError` if the file is missing, empty, or named .gz without being gzip.
    """
    if not path.is_file():
        raise SourceError(f"{path} does not exist; fetch the source first")
    raw = path.open("rb")
    magic = raw.read(2)
    raw.seek(0)
    if magic == GZIP_MAGIC:
        return cast(BinaryIO, igzip.open(raw, "rb")), raw
    if path.suffix == ".gz" or not magic:
        raw.close()
        what = "is empty" if not magic else "is named .gz but is not gzip"
        raise SourceError(f"{path} {what}; remove it and fetch the source again")
    return raw, raw


def read_fasta(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Records]:
    """Yield the records of a plain or gzip FASTA file, some thousands at a time.

    Raises `SourceError`, naming file, record and line, for a file that is empty, truncated or no
    FASTA, and for a record without name or sequence or with a character that is no residue.
    """
    stream, raw = open_fasta(path)
    line, record = 1, 1
    with raw, stream:
        for chunk in _record_chunks(stream, path, chunk_bytes):
            records = parse_records(chunk, path, line, record)
            line += chunk.count(b"\n")
            record += len(records.ids)
            yield records
    if record == 1:
        raise SourceError(f"{path} holds no record; fetch the source again")


def parse_records(chunk: bytes, path: Path, line: int = 1, record: int = 1) -> Records:
    """Parse whole records; `line` and `record` number the first ones, for messages."""
    handled = {}
    text = chunk
    if b"\r" in chunk:
        text = chunk.replace(b"\r\n", b"\n")
    parts = _HEADER.split(text)
    ids = [accession or word for accession, word in zip(parts[1::3], parts[2::3], strict=True)]
    body = b">".join(parts[3::3]).translate(_TABLE, _DELETED)
    sequences = body.split(b">")
    sound = not parts[0].strip() and len(sequences) == len(ids) and _ILLEGAL not in body
    if not sound or b"" in sequences or b"" in ids:
        _explain(text, path, line, record)
    if np.frombuffer(body, np.uint8).max() > ord("Z"):  # ten times as fast as body.isupper()
        lower = [len(s) for s in sequences if not s.isupper()]
        handled["lower_case"] = (len(lower), sum(lower))
        sequences = body.upper().split(b">")
    if b"*" in body:
        starred = [len(s) - 1 for s in sequences if s.endswith(b"*")]
        handled["trailing_star"] = (len(starred), sum(starred))
        sequences = [s.removesuffix(b"*") for s in sequences]
        if any(not s or b"*" in s for s in sequences):
            _explain(text, path, line, record)
    if text is not chunk:
        pieces = (b"\n" + chunk).split(b"\n>")[1:]
        windows = [len(s) for s, piece in zip(sequences, pieces, strict=True) if b"\r\n" in piece]
        handled["windows_line_ends"] = (len(windows), sum(windows))
    return Records(ids, sequences, handled)


def _record_chunks(stream: BinaryIO, path: Path, chunk_bytes: int) -> Iterator[bytes]:
    """Blocks of the stream, each cut before a header line, so that records are whole."""
    rest = b""
    for block in _blocks(stream, path, chunk_bytes):
        data = rest + block
        cut = data.rfind(b"\n>") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _blocks(stream: BinaryIO, path: Path, chunk_bytes: int) -> Iterator[bytes]:
    try:
        while block := stream.read(chunk_bytes):
            yield block
    except EOFError as error:
        raise SourceError(
            f"{path} is truncated: the compressed data end before their end mark; "
            "remove it and fetch the source again"
        ) from error
    except (IsalError, OSError) as error:  # type: ignore[misc]  # isal's stub declares an instance
        raise SourceError(f"{path} cannot be read: {error}; fetch the source again") from error


def _explain(text: bytes, path: Path, line: int, record: int) -> NoReturn:
    """Find the first fault of a chunk line by line and raise the error that names it."""
    name = b""
    header_line, has_residues, star_line = line, True, 0
    end = line + text.count(b"\n")
    record -= 1
    for number, content in enumerate([*text.split(b"\n")[:-1], b">"], start=line):
        where = f"{path}, line {number}, record {record} ({name.decode(errors='replace')})"
        if content.startswith(b">"):
            if not has_residues:
                raise SourceError(
                    f"{path}, line {header_line}: record {record} "
                    f"({name.decode(errors='replace')}) has no sequence; remove or complete it"
                )
            if number == end:
                break
            found = _HEADER.fullmatch(content + b"\n")
            name = (found[1] or found[2]) if found else b""
            record += 1
            header_line, has_residues, star_line = number, False, 0
            if not name:
                raise SourceError(
                    f"{path}, line {number}: record {record} has no name; give it one"
                )
            continue
        residues = content.translate(None, _DELETED)
        if not residues:
            continue
        if not name:
            shown = content[:40].decode(errors="replace")
            raise SourceError(
                f"{path}, line {number}: not FASTA, expected a line that starts with '>' "
                f"but found {shown!r}; fetch the source again"
            )
        if star_line:
            raise SourceError(f"{where}: '*' inside the sequence (line {star_line}); remove it")
        if residues.endswith(b"*"):
            residues, star_line = residues[:-1], number
        for character in residues:
            if character not in RESIDUES + RESIDUES.lower():
                raise SourceError(
                    f"{where}: {chr(character)!r} is no residue (A to Z are); correct or remove "
                    "the record"
                )
        has_residues = has_residues or bool(residues)
    raise SourceError(f"{path}, line {line}: not FASTA; fetch the source again")
