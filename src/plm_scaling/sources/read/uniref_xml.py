"""UniRef's XML as FASTA text: archived releases hold no FASTA, only XML.

Each `<entry id=…>` has a `<representativeMember>` with the cluster's sequence before all other
members, so the first `<sequence>` of an entry is the one, and what follows it is passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.fasta import parse_fasta
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.streams import AGAIN, CHUNK_BYTES, blocks, open_stream

_TOKEN = re.compile(rb"<entry\s([^>]*)>|<sequence((?:\s[^>]*)?)>([^<]*)</sequence>")
_ID = re.compile(rb"\bid=[\"']([^\"']*)")
_LENGTH = re.compile(rb"\slength=[\"']([0-9]+)")
_END = re.compile(rb"</UniRef[0-9]*\s*>\s*\Z")
_WHERE = re.compile(rb"<(?=entry\s|sequence[\s>])")
MAX_TAG_BYTES = 256  # enough for a tag's name at the end of a block


def read_uniref(path: Path, member: str = "", chunk_bytes: int = CHUNK_BYTES) -> Iterator[Records]:
    """Yield the representative sequences of a UniRef XML file (in an archive with `member`).

    Every `<entry>` becomes a record, kept or rejected. Raises `SourceError` as `read_fasta` does,
    for a file without its closing tag, and for a sequence that has not the length stated for it.
    """
    with open_stream(path, member) as stream:
        for records in parse_fasta(_as_fasta(blocks(stream, path, chunk_bytes), path), path):
            records.rejected = [rejected._replace(line=None) for rejected in records.rejected]
            yield records


def _as_fasta(pieces: Iterator[bytes], path: Path) -> Iterator[bytes]:
    rest = name = b""
    entries = False
    awaited = False  # an entry whose sequence has not come yet
    for piece in pieces:
        data = rest + piece
        lines = []
        end = 0
        for token in _TOKEN.finditer(data):
            end = token.end()
            attributes, stated, sequence = token.groups()
            if attributes is not None:
                found = _ID.search(attributes)
                name = found[1] if found else b""
                lines.append(b">" + name + b"\n")
                awaited = entries = True
            elif awaited:
                _check_length(stated, sequence, name, path)
                lines.append(sequence.replace(b">", b"?") + b"\n")
                awaited = False
        # Keep what may be the beginning of a token that the next block completes.
        begun = [match.start() for match in _WHERE.finditer(data, end)]
        rest = data[begun[0] if begun else max(end, len(data) - MAX_TAG_BYTES) :]
        if lines:
            yield b"".join(lines)
    if entries and not _END.search(rest):
        raise SourceError(
            f"{path} does not end with the closing tag of UniRef: it is cut off or of another "
            f"format; correct the source table, or {AGAIN}"
        )


def _check_length(tag: bytes, sequence: bytes, name: bytes, path: Path) -> None:
    stated = _LENGTH.search(tag)
    length = len(b"".join(sequence.split()))
    if stated and int(stated[1]) != length:
        raise SourceError(
            f"{path}: entry {name.decode(errors='replace')!r} states a length of {int(stated[1])} "
            f"and has {length} residues: the file is damaged; {AGAIN}"
        )
