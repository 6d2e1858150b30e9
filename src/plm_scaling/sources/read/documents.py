"""Source code out of an archive (tar.gz, tar.xz, tar.zst or zip): one record per file.

A document is written in one line like a sequence: `\\r` stands for a line end, which is why other
line ends are made that first.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.streams import (
    AGAIN,
    CHUNK_BYTES,
    ZIP_MAGIC,
    archived_files,
    count_read,
    open_stream,
    reading,
)

MAX_DOCUMENT_BYTES = 1_000_000  # longer files are tables and other generated text
LINE_END = b"\r"
# Suffixes of source code; what else lies in an archive (texts, data, pictures) is passed over.
_LANGUAGES = """bash c cc clj cmake cpp cs cu cuh cxx dart erl ex exs f f03 f08 f90 f95 go groovy h
    hh hpp hs hxx java jl js jsx kt lisp lua m ml mli mm php pl pm proto py pyi pyx r rb rs scala sh
    smk sql swift td tcl ts tsx vb zig"""
SUFFIXES = frozenset(f".{language}" for language in _LANGUAGES.split())
_UNSAFE = re.compile(rb"[%\s\x00-\x1f\x7f]")


def read_documents(path: Path, member: str = "") -> Iterator[Records]:
    """Yield the source files of an archive as records; ids are their paths in it.

    Files whose name has no suffix of a programming language are passed over. A source file that is
    empty, longer than `MAX_DOCUMENT_BYTES` or no UTF-8 text without control characters is rejected.
    Blanks and the like in paths become `%20`. Raises `SourceError` for a damaged archive.
    """
    batch = Records([], [], 1)
    residues = 0
    number = 1
    for name, size, content in _documents(path, member):
        text, reason = _as_line(content)
        length = len(text) if reason != "too_long" else size
        identifier = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], name)
        if reason is not None:
            batch.rejected.append(Rejected(number, None, identifier, length, reason))
        else:
            batch.ids.append(identifier)
            batch.sequences.append(text)
            if b"\r\n" in content:
                documents, characters = batch.handled.get("windows_line_ends", (0, 0))
                batch.handled["windows_line_ends"] = (documents + 1, characters + len(text))
        number += 1
        residues += len(text)
        if residues >= CHUNK_BYTES:
            yield batch
            batch, residues = Records([], [], number), 0
    if number == 1:
        raise SourceError(f"{path} holds no source code; correct the source table, or {AGAIN}")
    yield batch


def _documents(path: Path, member: str) -> Iterator[tuple[bytes, int, bytes]]:
    """Path, size in bytes and content of the source files (cut just beyond what is allowed)."""
    with open_stream(path) as stream, reading(path):
        is_zip = stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    for name, size, content in _zip_files(path) if is_zip else archived_files(path, member):
        if PurePosixPath(name).suffix.lower() in SUFFIXES:
            with reading(path):
                text = content.read(MAX_DOCUMENT_BYTES + 1)
            yield name.encode(errors="replace"), size, text


def _zip_files(path: Path) -> Iterator[tuple[str, int, BinaryIO]]:
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        for info in archive.infolist():
            if not info.is_dir():
                with reading(path):
                    content = archive.open(info)
                count_read(info.compress_size)
                with content:
                    yield info.filename, info.file_size, cast(BinaryIO, content)


def _as_line(content: bytes) -> tuple[bytes, str | None]:
    """The document with `\\r` for line ends, and why it is rejected if it is."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", LINE_END)
    if len(content) > MAX_DOCUMENT_BYTES:
        return text, "too_long"
    if not text.strip():
        return text, "empty"
    try:
        return text, "not_text" if "\0" in text.decode() else None
    except UnicodeDecodeError:
        return text, "not_text"
