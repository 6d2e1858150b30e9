"""The first bytes of a file tell whether it is what its name promises, or something else."""

import lzma
import re
import zlib
from pathlib import Path, PurePosixPath

from plm_scaling.sources.addresses import COMPRESSIONS, FASTA_SUFFIXES
from plm_scaling.sources.read.frames import compression

FIRST_BYTES = 4096
SHOWN_BYTES = 40
NO_FILE = {
    "a web page": rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b",
    "an XML error message": rb"(<\?xml[^>]*>\s*)?<(\w+:)?(error|errors|errorresponse)\b",
    "a JSON message": rb"(\{\s*[\"}]|\[\s*[\[\]{\"])",
    "a Git LFS pointer": rb"version https://git-lfs",
}
FASTA = re.compile(rb"[>;#]|\xff\xfe|\xfe\xff")  # UTF-16: the reader says what to do
PROMISED = {
    **dict.fromkeys(FASTA_SUFFIXES, ("FASTA", FASTA)),
    ".xml": ("XML", re.compile(rb"<")),
    ".zip": ("zip", re.compile(rb"PK")),
    ".parquet": ("Parquet", re.compile(rb"PAR1")),
}


def wrong_beginning(path: Path, name: str) -> str | None:
    """What the file at `path` holds instead of one called `name`; None if its first bytes fit."""
    with path.open("rb") as file:
        first = file.read(FIRST_BYTES)
    if not first:
        return "no data"
    found = _instead(first, name)
    return found and f"{found} (it begins with {first[:SHOWN_BYTES]!r})"


def _instead(first: bytes, name: str, outer: str | None = None) -> str | None:
    """The same for first bytes, which `outer` compressed if it is not None."""
    suffix = PurePosixPath(name).suffix
    promised = COMPRESSIONS.get(suffix)
    found = compression(first)
    if found is None:
        text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
        for what, pattern in NO_FILE.items():
            if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
                return what
        if text and suffix in PROMISED and not PROMISED[suffix][1].match(text):
            return f"data that are not {PROMISED[suffix][0]}"
    if promised not in (None, found):
        return f"data that are not {promised}"
    if found is None:
        return None
    if outer is not None and promised is None:
        return f"{found} inside {outer}"
    inner = _decompressed(first, found)
    return _instead(inner, PurePosixPath(name).stem if promised else name, found) if inner else None


def _decompressed(first: bytes, how: str) -> bytes:
    """The beginning of the content, as far as the standard library reads it; damage shows later."""
    try:
        if how == "gzip":
            return zlib.decompressobj(wbits=31).decompress(first, FIRST_BYTES)
        return lzma.LZMADecompressor().decompress(first, FIRST_BYTES) if how == "xz" else b""
    except (zlib.error, lzma.LZMAError):
        return b""
