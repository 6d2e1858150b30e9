"""Decompressed streams of raw files and of members inside archives; nothing is unpacked to disk.

gzip, zstd and xz are told apart by their first bytes, not by the file's name.
"""

import lzma
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from backports.zstd import ZstdError
from isal.isal_zlib import IsalError

from plm_scaling.common.errors import SourceError
from plm_scaling.common.progress import Progress
from plm_scaling.sources.addresses import COMPRESSIONS
from plm_scaling.sources.read.frames import MAGIC_BYTES, Frames, compression

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1 << 20
ZIP_MAGIC = b"PK\x03\x04"
_CR_ALONE = re.compile(rb"\r(?!\n)")
STDIN = Path("-")
AGAIN = "if it was fetched, remove it and fetch it again; or give another file"

_counting: ContextVar[Progress | None] = ContextVar("counting", default=None)


def progress_of(label: str, files: Sequence[Path]) -> Progress:
    """Progress in bytes of the files as they lie on the disk; of standard input without a total."""
    return Progress(label, _bytes(files), "B")


@contextmanager
def counting(progress: Progress) -> Iterator[None]:
    """Add to `progress` what is read meanwhile of raw files, in whatever format."""
    token = _counting.set(progress)
    try:
        yield
    finally:
        _counting.reset(token)


def count_read(amount: float) -> None:
    """Bytes of a raw file that were read, for who counts them."""
    if (progress := _counting.get()) is not None:
        progress.add(amount)


def read_again(files: Sequence[Path]) -> None:
    """Raw files are read from their beginning once more."""
    if (progress := _counting.get()) is not None:
        progress.total += _bytes(files)


def _bytes(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


class _Counted(FileIO):
    """A file that counts what is read of it."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        amount = super().readinto(buffer)
        count_read(amount)
        return amount


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what damaged files raise while they are read into `SourceError`."""
    try:
        yield
    except (
        EOFError,
        OSError,
        IsalError,  # type: ignore[misc]  # isal's stub declares an instance
        lzma.LZMAError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        ValueError,
        ZstdError,
        RuntimeError,  # zipfile, of an encrypted member
    ) as error:
        problem = f"cannot be read: {error}"
        if isinstance(error, EOFError) or "runcated" in str(error):  # tarfile's
            problem = "is truncated: the compressed data end before their end mark"
        raise SourceError(f"{path} {problem}; {AGAIN}") from error


def refuse_no_file(path: Path) -> None:
    """Raise `SourceError` unless there is a file that can be read more than once."""
    if path.is_file():
        return
    if path.exists() and not path.is_dir():
        raise SourceError(
            f"{path} is a pipe or a device, which is read once; give a file, or - and pipe into "
            "the command"
        )
    raise SourceError(f"{path} does not exist; correct the path, or fetch the source first")


@contextmanager
def open_stream(path: Path, member: str = "") -> Iterator[BinaryIO]:
    """The decompressed content of a raw file, or of a member of the archive that it is.

    `member` may lead through archives inside the archive (`uniref50.tar/uniref50.xml.gz`); each is
    decompressed. Raises `SourceError` if the file is missing, empty, not what its name says, or has
    no such member.
    """
    if path != STDIN:
        refuse_no_file(path)
    with ExitStack() as stack:
        if path == STDIN:  # around the one of the system, which may have read a byte only
            raw = BufferedReader(cast(Any, sys.stdin.buffer), CHUNK_BYTES)
            stack.callback(raw.detach)
        else:
            raw = stack.enter_context(BufferedReader(_Counted(path)))
        first = raw.peek(MAGIC_BYTES)
        if not first:
            raise SourceError(f"{path} is empty; {AGAIN}")
        expected = COMPRESSIONS.get(path.suffix)
        found = compression(first)
        if expected is not None and found != expected:
            raise SourceError(f"{path} is named {path.suffix} but is not {expected}; {AGAIN}")
        with reading(path):
            stream = decompressed(raw, path)
            if member:
                stream = _descend(stream, path, member, stack)
            elif again := found and compression(cast(BufferedReader, stream).peek(MAGIC_BYTES)):
                raise SourceError(
                    f"{path} is compressed twice ({again} in {found}); decompress it once"
                )
        yield stream


def decompressed(stream: BufferedReader, path: Path) -> BinaryIO:
    """The content of a stream that may be compressed; the stream need not be seekable."""
    kind = compression(stream.peek(MAGIC_BYTES))
    return BufferedReader(Frames(stream, kind, str(path)), CHUNK_BYTES) if kind else stream


class _Member(tarfile.TarInfo):
    """tarfile takes an archive that ends without its end mark for a whole one."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
            raise EOFError(str(error)) from error


def members(stream: BinaryIO) -> Generator[tuple[str, int, BinaryIO], None, None]:
    """Name, size in bytes and content of the regular files in a tar, in order; each is read before
    the next is asked for, or skipped."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_Member) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # a list that would grow with the archive
            if info.isreg():
                yield info.name, info.size, cast(BinaryIO, tar.extractfile(info))


def archived_files(path: Path, member: str = "") -> Iterator[tuple[str, int, BinaryIO]]:
    """`members` of the tar that a raw file is, or is in it as `member`."""
    with open_stream(path, member) as stream:
        walk = members(stream)
        while True:
            with reading(path):
                found = next(walk, None)
            if found is None:
                return
            yield found


def _descend(stream: BinaryIO, path: Path, member: str, stack: ExitStack) -> BinaryIO:
    """The decompressed content of `member`, whose first part may be an archive itself."""
    walk = members(stream)
    stack.callback(walk.close)
    for name, _, content in walk:
        name = name.removeprefix("./")
        if member == name or member.startswith(f"{name}/"):
            inner = stack.enter_context(decompressed(cast(BufferedReader, content), path))
            rest = member[len(name) + 1 :]
            return _descend(inner, path, rest, stack) if rest else inner
    raise SourceError(
        f"{path} has no member {member}; correct column member of the source table, or {AGAIN}"
    )


def blocks(stream: BinaryIO, path: Path, block_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The text of a stream in blocks, in which a CR that no LF follows comes as LF; CRLF stays.

    Damage raises `SourceError`.
    """
    held = b""  # a CR at the end of a block, of which the next one tells what it is
    while True:
        with reading(path):
            block = stream.read(block_bytes)
        text = held + block
        held = b""
        if b"\r" in text:
            if block and text.endswith(b"\r"):
                text, held = text[:-1], b"\r"
            text = _CR_ALONE.sub(b"\n", text)
        if text:
            yield text
        if not block:
            return
