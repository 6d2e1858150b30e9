"""UniRef's XML as FASTA text: archived releases hold no FASTA, only XML.

Each `<entry id=…>` has a `<representativeMember>` with the cluster's sequence before all other
members, so the first `<sequence>` of an entry is the one, and what follows it is passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from plm_scaling.sources.fasta import parse_fasta
from plm_scaling.sources.records import Records
from plm_scaling.sources.streams import CHUNK_BYTES, blocks, open_stream

_TOKEN = re.compile(rb"<entry\s([^>]*)>|<sequence(?:\s[^>]*)?>([^<]*)</sequence>")
_ID = re.compile(rb"\bid=[\"']([^\"']*)")
_WHERE = re.compile(rb"<(?=entry\s|sequence[\s>])")
MAX_TAG_BYTES = 256  # enough for a tag's name at the end of a block


def read_uniref(path: Path, member: str = "", chunk_bytes: int = CHUNK_BYTES) -> Iterator[Records]:
    """Yield the representative sequences of a UniRef XML file (in an archive with `member`).

    Every `<entry>` becomes a record, kept or rejected. Raises `SourceError` as `read_fasta` does.
    """
    with open_stream(path, member) as stream:
        for records in parse_fasta(_as_fasta(blocks(stream, path, chunk_bytes)), path):
            records.rejected = [rejected._replace(line=None) for rejected in records.rejected]
            yield records


def _as_fasta(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    awaited = False  # an entry whose sequence has not come yet
    for piece in pieces:
        data = rest + piece
        lines = []
        end = 0
        for token in _TOKEN.finditer(data):
            end = token.end()
            attributes, sequence = token.groups()
            if attributes is not None:
                found = _ID.search(attributes)
                lines.append(b">" + (found[1] if found else b"") + b"\n")
                awaited = True
            elif awaited:
                lines.append(sequence.replace(b">", b"?") + b"\n")
                awaited = False
        # Keep what may be the beginning of a token that the next block completes.
        begun = [match.start() for match in _WHERE.finditer(data, end)]
        rest = data[begun[0] if begun else max(end, len(data) - MAX_TAG_BYTES) :]
        if lines:
            yield b"".join(lines)
