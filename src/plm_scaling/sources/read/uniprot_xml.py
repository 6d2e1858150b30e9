"""UniProt's XML: that of UniRef, whose archived releases hold no FASTA, and that of UniProtKB.

Both have one `<entry>` after the other. In UniRef it is called by its `id`, and the first
`<sequence>` with text is the representative's, before all other members. In UniProtKB the first
`<accession>` is its name, and the only `<sequence>` with text is the canonical one (those of
isoforms are empty references). What follows in an entry is passed over; its end must come before
the next. Both formats state length and CRC64 of each sequence.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.crc64 import crc64
from plm_scaling.sources.read.fasta import MAX_RECORD_BYTES, parse_records
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import AGAIN, CHUNK_BYTES, blocks, open_stream

# What is UniProt's XML, by the name of its first element: format in the source table, title.
_ROOTS = {"UniRef": ("uniref_xml", "UniRef"), "uniprot": ("uniprot_xml", "UniProtKB")}
_ROOT = re.compile(rb"<([A-Za-z][\w.:-]*?)([0-9]*)[\s/>]")
_TOKEN = re.compile(
    rb"<(?:entry(\s[^>]*)>|/(entry|representativeMember)\s*>|accession>([^<]*)</accession>"
    rb"|sequence(?=[\s>])(?:(?=[^>]*\slength\s*=\s*[\"']([0-9]+)))?"
    rb"(?:(?=[^>]*\schecksum\s*=\s*[\"']([0-9A-Fa-f]{16})[\"']))?[^>]*>([^<]*)</sequence>)"
)
_BEGUN = re.compile(rb"<(?:entry\s|accession>|sequence(?![^>]*/>)[\s>])")
_ID = re.compile(rb"\sid\s*=\s*[\"']([^\"']*)")
MAX_TAG_BYTES = 256  # enough for a tag's name at the end of a block


class _Entry(NamedTuple):
    name: bytes
    length: bytes | None = None  # as stated
    checksum: bytes | None = None
    sequence: bytes = b""


def read_uniref(path: Path, member: str = "", chunk_bytes: int = CHUNK_BYTES) -> Iterator[Records]:
    """Yield the representative sequences of a UniRef XML file (in an archive with `member`).

    Every `<entry>` becomes a record, kept or rejected. Raises `SourceError` as `read_fasta` does,
    for other XML, for a file without its closing tag, and for a sequence that has not the length
    or the checksum stated for it. Entries without a checksum are counted as `no_checksum`.
    """
    return _read(path, member, chunk_bytes, "UniRef")


def read_uniprot(path: Path, member: str = "", chunk_bytes: int = CHUNK_BYTES) -> Iterator[Records]:
    """Yield the canonical sequences of a UniProtKB XML file; otherwise as `read_uniref`."""
    return _read(path, member, chunk_bytes, "uniprot")


def _read(path: Path, member: str, chunk_bytes: int, root: str) -> Iterator[Records]:
    record = 1
    with open_stream(path, member) as stream:
        for entries in _entries(blocks(stream, path, chunk_bytes), path, root):
            unverified = _verify(entries, path)
            # After a blank, a '>' begins no record of its own.
            text = [b">%b\n %b\n" % (entry.name, entry.sequence) for entry in entries]
            records = parse_records(b"".join(text), record=record)
            records.rejected = [one._replace(line=None, file=str(path)) for one in records.rejected]
            if unverified:
                residues = sum(len(entry.sequence) for entry in unverified)
                records.handled["no_checksum"] = (len(unverified), residues)
            record += records.count
            yield records
    if record == 1:
        raise SourceError(f"{path} holds no record; {AGAIN}")


def _entries(pieces: Iterator[bytes], path: Path, root: str) -> Iterator[list[_Entry]]:
    rest = found = b""
    name: bytes | None = None  # of the entry whose sequence has not come yet
    is_open, after = False, b""
    for piece in pieces:
        data = rest + piece
        if not found and (first := _ROOT.search(data)):
            found = first[1]
            _check_root(found.decode(errors="replace"), root, path)
            data = data[first.start() :]
        if found and b"<!" in data:  # which may hide entries, or hold what looks like some
            raise SourceError(
                f"{path} has comments or CDATA, which UniProt's own files have not; give the "
                "original, or write it without them"
            )
        entries = []
        end = 0
        for token in _TOKEN.finditer(data):
            end = token.end()
            attributes, closed, accession, length, checksum, text = token.groups()
            if attributes is not None or closed == b"entry":
                if is_open == (closed is None):
                    raise _unpaired(path, after)
                is_open = not is_open
            if attributes is not None:
                identifier = _ID.search(attributes)
                name = after = _word(identifier[1]) if identifier else b""
            elif closed is not None and name is not None:
                entries.append(_Entry(name))
                name = None
            elif name is not None and text is not None:
                entries.append(_Entry(name, length, checksum, b"".join(text.split())))
                name = None
            elif name == b"" and accession is not None:
                name = after = _word(accession)
        # Keep what may be the beginning of a token that the next block completes.
        begun = _BEGUN.search(data, end)
        rest = data[begun.start() if begun else max(end, len(data) - MAX_TAG_BYTES) :]
        if len(rest) > MAX_RECORD_BYTES:
            raise SourceError(
                f"{path}: a sequence has more than {MAX_RECORD_BYTES} bytes, or no end; {AGAIN}"
            )
        if entries:
            yield entries
    if not found:
        raise SourceError(f"{path} is no XML, or is empty; correct the source table, or {AGAIN}")
    if not re.search(rb"</%b[0-9]*\s*>\s*\Z" % root.encode(), rest):
        raise SourceError(
            f"{path} does not end with the closing tag of {_ROOTS[root][1]}: it is cut off or of "
            f"another format; correct the source table, or {AGAIN}"
        )
    if is_open:
        raise _unpaired(path, after)


def _unpaired(path: Path, name: bytes) -> SourceError:
    return SourceError(
        f"{path}: at or after entry {name.decode(errors='replace')!r} an <entry> lacks its end, or "
        f"an </entry> its beginning: the file is damaged or was edited; {AGAIN}"
    )


def _check_root(found: str, root: str, path: Path) -> None:
    title = _ROOTS[root][1]
    if found in _ROOTS and found != root:
        other, others_title = _ROOTS[found]
        raise SourceError(
            f"{path} is {others_title} XML, not {title} XML; give format {other} in the source "
            "table"
        )
    if found != root:
        raise SourceError(
            f"{path} is not {title} XML, its first element is <{found}>; correct the source table, "
            f"or {AGAIN}"
        )


def _word(name: bytes) -> bytes:
    """The first word, as of a FASTA header."""
    return b"".join(name.split()[:1])


def _verify(entries: list[_Entry], path: Path) -> list[_Entry]:
    """Compare lengths and checksums with what is stated; returns the entries without checksum."""
    summed: list[_Entry] = []
    unverified: list[_Entry] = []
    for entry in entries:
        size = len(entry.sequence)
        if entry.length and int(entry.length) != size:
            raise _damaged(path, entry, f"a length of {int(entry.length)} and has {size} residues")
        if size:
            (summed if entry.checksum else unverified).append(entry)
    found = crc64([entry.sequence for entry in summed]).tolist()
    for entry, actual in zip(summed, found, strict=True):
        stated = int(entry.checksum or b"", 16)
        if stated != actual:
            raise _damaged(path, entry, f"the CRC64 {stated:016X} and has {actual:016X}")
    return unverified


def _damaged(path: Path, entry: _Entry, what: str) -> SourceError:
    name = entry.name.decode(errors="replace")
    return SourceError(
        f"{path}: entry {name!r} states {what}: the file is damaged or was edited; {AGAIN}"
    )
