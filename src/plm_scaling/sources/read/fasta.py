"""Streaming FASTA parser on whole chunks of bytes.

One regular expression and one `bytes.translate` per chunk of about 1 MiB do the work (chunks of
this size stay in the cache); records are looked at one by one only in a chunk that holds something
unusual. A record that cannot be used is set aside with its reason and the rest of its chunk parsed
as before; a file that is no FASTA is an error.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from Bio.Data.IUPACData import extended_protein_letters

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.alphabet import proteins
from plm_scaling.sources.read.others import mistaken
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.streams import AGAIN, CHUNK_BYTES, blocks, open_stream

MAX_RECORD_BYTES = 64 << 20  # a longer record is no protein, and would not fit in memory
RESIDUES = extended_protein_letters.encode()  # 20 amino acids and B X Z J U O

# `>sp|ACC|NAME …` and `>tr|ACC|NAME …` are called by their accession, others by their first word.
_HEADER = re.compile(rb">(?:(?:sp|tr)\|([^|\s]+)\|)?(\S*)[^\n]*\n")
_BLANK_FIRST = re.compile(rb"^>[ \t]+", re.MULTILINE)
_NEXT_NAME = b"\1"  # in NCBI's nr, before the names that other databases have for the sequence
_ILLEGAL = 0
_LETTERS = RESIDUES + RESIDUES.lower()
# Blanks and line ends are deleted by `translate`; what is no residue becomes NUL, found by memchr.
_TABLE = bytes(c if c in _LETTERS + b">*" else _ILLEGAL for c in range(256))
_DELETED = b"\n \t"
_PLAIN = bytes(range(0x21, 0x7F))  # of which names usually are
# A byte order mark, blank lines and comments, as older programs put them on top.
_TOP = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r\f\v]*\n|[;#][^\n]*\n)*")
_COMMENT = re.compile(rb"^(?:\xef\xbb\xbf)?[;#]", re.MULTILINE)
_UNDECIDED = re.compile(rb"(?:[;#][^\n]*|\s*|\xef\xbb?)")
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|>\0[^\0]\0|\0>\0[^\0]|>\0\0\0|\0\0\0>")


def read_fasta(
    path: Path | Sequence[Path], member: str = "", chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Records]:
    """Yield the records of FASTA files (plain, gzip, zstd or xz), some thousands at a time.

    Several files are one source, whose records are numbered throughout. `member`: the FASTA is in
    the archive `path`. Raises `SourceError`, naming file and line, for a file that is missing,
    empty, truncated, no FASTA or one of nucleotides.
    """
    record = 1
    for one in [path] if isinstance(path, Path) else path:
        with open_stream(one, member) as stream:
            batches = parse_fasta(blocks(stream, one, chunk_bytes), one, record)
            for records in proteins(batches, one):
                record = records.first + records.count
                yield records


def parse_fasta(pieces: Iterable[bytes], path: Path, first: int = 1) -> Iterator[Records]:
    """Yield the records, from number `first`, of FASTA text that comes in pieces of any size."""
    pieces, line, comments = skip_top(pieces, path)
    record = first
    for chunk in whole_records(pieces, path):
        records = parse_records(chunk, line, record)
        records.rejected = [one._replace(file=str(path)) for one in records.rejected]
        # chunk.count(b"\n"), ten times as fast
        line += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord("\n")))
        if comments:
            records.handled["comment_on_top"] = (comments, 0)
            comments = 0
        record += records.count
        yield records


def skip_top(pieces: Iterable[bytes], path: Path) -> tuple[Iterator[bytes], int, int]:
    """The text from its first header on, the line of that, and how many comments were above it.

    Raises `SourceError` if there is none, or it is not what comes first.
    """
    pieces = iter(pieces)
    text = b""
    end = 0
    for piece in pieces:
        text += piece
        found = _TOP.match(text)
        end = found.end() if found else 0
        sure = len(text) - end > 3 and not _UNDECIDED.fullmatch(text, end)
        if sure or len(text) > MAX_RECORD_BYTES:
            break
    top, body = text[:end], text[end:]
    line = top.count(b"\n") + 1
    if _UTF_16.match(text):
        raise SourceError(
            f"{path} is UTF-16 or UTF-32 text; convert it, for instance with "
            "`iconv -f UTF-16 -t UTF-8`"
        )
    if not body.strip() or body.startswith((b";", b"#")):
        raise SourceError(f"{path} holds no record; {AGAIN}")
    known = mistaken(body)
    if known and body.startswith(b">"):
        raise SourceError(f"{path}, line {line}: not FASTA, it looks like {known}")
    if not body.startswith(b">"):
        if body.startswith(b"<?xml"):
            help_ = f"state the format of UniProt's XML, uniprot_xml or uniref_xml; {AGAIN}"
        elif known:
            help_ = f"it looks like {known}"
        else:
            help_ = AGAIN
        raise SourceError(
            f"{path}, line {line}: not FASTA, expected a line that starts with '>' but found "
            f"{body[:40].decode(errors='replace')!r}; {help_}"
        )
    return chain([body], pieces), line, len(_COMMENT.findall(top))


def whole_records(pieces: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """The text cut before header lines; it begins with one."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        cut = data.rfind(b"\n>") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
        if len(rest) > MAX_RECORD_BYTES:
            raise SourceError(
                f"{path}: the record {rest[:40].split(b' ')[0].decode(errors='replace')!r} has "
                f"more than {MAX_RECORD_BYTES} bytes; this is no protein FASTA, give another file"
            )
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def parse_records(chunk: bytes, line: int = 1, record: int = 1) -> Records:
    """Parse whole records, one per line that starts with `>`, numbered from `line` and `record`."""
    records = _parse_sound(chunk, record)
    if records is None or b"".join(records.ids).translate(None, _PLAIN):
        sound, rejected = _sort_out(chunk, line, record)
        records = _parse_sound(sound, record)
        assert records is not None, f"records {record} to {record + len(rejected)} are not sound"
        records.rejected = rejected
    return records


def _headers(text: bytes) -> int:
    """Number of lines that begin with `>`; inside a line it begins no record."""
    data = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero(data == ord(">"))
    return int(np.count_nonzero((marks == 0) | (data[marks - 1] == ord("\n"))))


def _parse_sound(chunk: bytes, record: int) -> Records | None:
    """Parse a chunk in which every record can be used; None if there is any doubt."""
    if not chunk:
        return Records([], [], record)
    handled = {}
    text = chunk.replace(b"\r\n", b"\n") if b"\r" in chunk else chunk
    parts, ids = _split(text)
    if late := b"" in ids:
        parts, ids = _split(_BLANK_FIRST.sub(b">", text))
    if _NEXT_NAME in text:
        ids = [name.partition(_NEXT_NAME)[0] for name in ids]
    body = b">".join(parts[3::3]).translate(_TABLE, _DELETED)
    sequences = body.split(b">")
    if (
        parts[0]
        or len(sequences) != len(ids)
        or len(ids) != _headers(text)
        or _ILLEGAL in body
        or b"" in sequences
        or b"" in ids
    ):
        return None
    if b"*" in body:
        starred = [len(s) - 1 for s in sequences if s.endswith(b"*")]
        handled["trailing_star"] = (len(starred), sum(starred))
        sequences = [s.removesuffix(b"*") for s in sequences]
        if any(not s or b"*" in s for s in sequences):
            return None
        body = b">".join(sequences)
    if np.frombuffer(body, np.uint8).max() > ord("Z"):  # ten times as fast as body.isupper()
        lower = [len(s) for s in sequences if not s.isupper()]
        handled["lower_case"] = (len(lower), sum(lower))
        sequences = body.upper().split(b">")
    if text is not chunk:
        handled["windows_line_ends"] = _fixed(chunk, sequences, rb"\r\n")
    if late:
        handled["blank_before_name"] = _fixed(chunk, sequences, rb"\A[ \t]")
    return Records(ids, sequences, record, handled)


def _split(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """The text cut at headers, every third piece what stands between two, and the names in them."""
    parts = _HEADER.split(text)
    return parts, [word or name for word, name in zip(parts[1::3], parts[2::3], strict=True)]


def _fixed(chunk: bytes, sequences: list[bytes], what: bytes) -> tuple[int, int]:
    """Numbers of records and residues of those in whose text after `>` the pattern is found."""
    pieces = (b"\n" + chunk).split(b"\n>")[1:]
    lengths = [len(s) for s, piece in zip(sequences, pieces, strict=True) if re.search(what, piece)]
    return len(lengths), sum(lengths)


def _sort_out(chunk: bytes, line: int, record: int) -> tuple[bytes, list[Rejected]]:
    """Look at each record: those that can be used, joined again, and the others with why not."""
    sound, rejected = [], []
    for number, piece in enumerate((b"\n" + chunk).split(b"\n>")[1:], start=record):
        whole = b">" + piece + b"\n"
        fault = _fault(whole)
        if fault is None:
            sound.append(whole)
        else:
            rejected.append(fault._replace(record=number, line=line))
        line += piece.count(b"\n") + 1
    return b"".join(sound), rejected


def _fault(piece: bytes) -> Rejected | None:
    """What is wrong with one record, without its place in the file; None if nothing is."""
    header, _, body = piece.replace(b"\r\n", b"\n").partition(b"\n")
    found = _HEADER.fullmatch(_BLANK_FIRST.sub(b">", header) + b"\n")
    name = (found[1] or found[2]).partition(_NEXT_NAME)[0] if found else b""
    residues = body.translate(None, _DELETED)
    sequence = residues.removesuffix(b"*")
    stars = b"*" * sequence.count(b"*")
    if not name:
        reason, wrong = "no_name", ""
    elif wrong := _unprintable(name):
        reason = "illegal_name"
    elif wrong := sequence.translate(None, _LETTERS + b"*").decode(errors="surrogateescape"):
        reason = "illegal_character"
    elif not sequence:
        reason = "no_sequence"
    elif wrong := stars.decode():
        reason = "star_inside"
    else:
        return None
    character = _shown(wrong[0]) if wrong else ""
    return Rejected(0, None, name, len(residues), reason, character, len(wrong))


def _unprintable(name: bytes) -> str:
    """What in a name tables and indexes cannot hold: control characters, bytes of no UTF-8."""
    return "".join(c for c in name.decode(errors="surrogateescape") if not c.isprintable())


def _shown(character: str) -> str:
    """As it is, or like `\\x00`."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if code & ~0x7F == 0xDC80 else ascii(character)[1:-1]
