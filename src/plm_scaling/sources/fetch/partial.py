"""A download that is not finished: its bytes, and what a later attempt must know to resume."""

import errno
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import short_number


class WriteError(SourceError):
    """The disk is at fault, not the address: no other address is tried."""


@dataclass
class Origin:
    """Where the bytes come from: address, the server's validators, and the file's full length.

    `etag` and `modified` are None where the server states none, `length` (bytes) likewise.
    """

    url: str
    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong ETag, else the date of the last change."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified


class Partial:
    """`.NAME.part` beside `out`, and `.NAME.part.json` with its origin.

    The names are fixed, so that another process finds what a killed one left.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f".{out.name}.part")
        self._note = out.with_name(f".{out.name}.part.json")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(out.parent, error) from error

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> Origin | None:
        """Where the bytes come from; None if there are none, or nobody knows."""
        try:
            return Origin(**read_json(self._note)) if self.size else None
        except (OSError, json.JSONDecodeError, TypeError):
            return None

    def restart(self, origin: Origin) -> None:
        """Drop what is there and note a new origin (in this order: a kill in between is safe)."""
        self._open("wb").close()
        try:
            write_json(self._note, vars(origin))
        except OSError as error:
            raise _cannot_write(self._note, error) from error

    def append(self) -> "Appender":
        """A file object that adds to the bytes."""
        return Appender(self._open("ab"), self.path)

    def discard(self) -> None:
        """Remove everything."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """The bytes are complete and verified: they become `out`."""
        try:
            self.path.replace(self.out)
        except OSError as error:
            raise _cannot_write(self.out, error) from error
        self._note.unlink(missing_ok=True)

    def check_space(self, length: int | None) -> None:
        """Raise `WriteError` unless the disk has room for what is missing of `length` bytes."""
        needed = (length or 0) - self.size
        free = shutil.disk_usage(self.out.parent).free
        if needed > free:
            raise WriteError(
                f"{self.out} needs {needed} bytes ({short_number(needed)}B) more and "
                f"{self.out.parent} has {free} ({short_number(free)}B) free; make room or put "
                "the working folder on a larger disk"
            )

    def _open(self, mode: str) -> BinaryIO:
        try:
            return self.path.open(mode)  # type: ignore[return-value]
        except OSError as error:
            raise _cannot_write(self.path, error) from error


class Appender:
    """Writes that fail are no fault of the address: they end the fetch with their own message."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, block: bytes) -> None:
        """Add a block; raises `WriteError` when the disk is full or refuses."""
        try:
            self._file.write(block)
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def __enter__(self) -> "Appender":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _cannot_write(self._path, error) from error


def _cannot_write(path: Path, error: OSError) -> WriteError:
    what = f"{path} cannot be written: {error.strerror or error}"
    if error.errno == errno.ENOSPC:
        return WriteError(f"{what}; make room and run again, what was received is kept")
    return WriteError(f"{what}; fix that and run again")
