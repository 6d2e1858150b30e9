"""What a file is, by its first bytes."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.others import OTHERS
from plm_scaling.sources.read.streams import (
    AGAIN,
    CHUNK_BYTES,
    compression,
    open_stream,
    reading,
)

FASTA = "FASTA"
# Formats that are read, by how they begin.
_READ = (
    (rb"(?s:.{0,400})<UniRef[0-9]*[\s>]", "UniRef XML"),
    (rb"(?s:.{0,400})<uniprot[\s>]", "UniProtKB XML"),
    (rb"PAR1", "Parquet"),
    (rb"ARROW1|\xff\xff\xff\xff", "Arrow"),
)
# What a source of theirs states in a config or table; other files are taken for FASTA.
FORMATS = {
    "UniRef XML": "uniref_xml",
    "UniProtKB XML": "uniprot_xml",
    "Parquet": "parquet",
    "Arrow": "arrow",
}
_BLANK = b"\xef\xbb\xbf \t\r\n"  # and the byte order mark of UTF-8


@dataclass(frozen=True)
class Kind:
    """`name` is FASTA or another format; `compression` and `line_ends` are empty for none, and
    `help` where the pipeline reads the format."""

    name: str
    compression: str
    line_ends: str
    help: str


def kind_of(path: Path) -> Kind:
    """Look at the beginning of a file. Raises `SourceError` if nothing can be read of it."""
    if path.is_file():
        with path.open("rb") as raw:
            text = raw.read(CHUNK_BYTES)
        packed = compression(text) or ""
        if other := None if packed else _other(text):
            return other  # whatever it is named: an error page for a .gz
    with open_stream(path) as stream, reading(path):
        text = stream.read(CHUNK_BYTES)
    if not text.strip(_BLANK):
        raise SourceError(f"{path} holds nothing but blanks; {AGAIN}")
    if other := _other(text):
        return replace(other, compression=packed)
    # A comment on top is the reader's business, and so is to say what is wrong with other text.
    name = FASTA if text.strip(_BLANK)[:1] in (b">", b";", b"#") else "text"
    return Kind(name, packed, _line_ends(text), "")


def _other(text: bytes) -> Kind | None:
    """What a file is that is no FASTA, if it is one of the known."""
    start = text.lstrip(_BLANK)
    known = *((pattern, name, "") for pattern, name in _READ), *OTHERS
    names = ((name, help_) for pattern, name, help_ in known if re.match(pattern, start))
    name, help_ = next(names, ("", ""))
    return Kind(name, "", "", help_) if name else None


def _line_ends(text: bytes) -> str:
    """Line ends other than LF by their names, of a text that may end in the middle of one."""
    text = text[:-1] if text.endswith(b"\r") else text
    crlf = text.count(b"\r\n")
    found = {
        "CRCRLF": text.count(b"\r\r\n"),
        "Windows (CRLF)": crlf - text.count(b"\r\r\n"),
        "old Mac (CR)": text.count(b"\r") - crlf - text.count(b"\r\r\n"),
        "Unix (LF)": text.count(b"\n") - crlf,
    }
    kinds = [name for name, times in found.items() if times]
    return "" if kinds == ["Unix (LF)"] else " and ".join(kinds)
