"""A download that is not finished: its bytes, and what a later attempt must know to resume."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import short_bytes


class WriteError(SourceError):
    """The disk is at fault, not the address: no other address is tried."""


@dataclass
class Origin:
    """Where the bytes come from, and what the server says of the whole file.

    `etag` and `modified` are None where the server states none, `length` (bytes) likewise;
    `checksum` (`sha256:…`) and the `header` that states it are then empty.
    """

    url: str
    etag: str | None = None
    modified: str | None = None
    length: int | None = None
    checksum: str = ""
    header: str = ""

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong ETag, else the date of the last change."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified


class Partial:
    """`.NAME.part` beside `out`, and `.NAME.part.json` with its origin; others find them."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f".{out.name}.part")
        self._note = out.with_name(f".{out.name}.part.json")
        with _writing(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> Origin | None:
        """Where the bytes come from; None if there are none, or nobody knows."""
        try:
            return Origin(**read_json(self._note)) if self.size else None
        except (OSError, ValueError, TypeError):
            return None

    def restart(self, origin: Origin) -> None:
        """Drop what is there and note a new origin (in this order: a kill in between is safe)."""
        with _writing(self.path):
            self.path.write_bytes(b"")
        with _writing(self._note):
            write_json(self._note, vars(origin))

    def append(self, blocks: Iterable[bytes]) -> None:
        """Add blocks as they come, so that `size` counts each when the next is asked for; what
        `blocks` raises is no `OSError`."""
        with _writing(self.path), self.path.open("ab") as file:
            for block in blocks:
                file.write(block)
                file.flush()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """The bytes are complete and verified: they become `out`."""
        with _writing(self.out):
            self.path.replace(self.out)
        self._note.unlink(missing_ok=True)

    def check_space(self, length: int | None) -> None:
        """Raise `WriteError` unless the disk has room for what is missing of `length` bytes."""
        needed = (length or 0) - self.size
        free = shutil.disk_usage(self.out.parent).free
        if needed > free:
            raise WriteError(
                f"{self.out} needs {needed} bytes ({short_bytes(needed)}) more and "
                f"{self.out.parent} has {free} ({short_bytes(free)}) free; make room or put "
                "the working folder on a larger disk"
            )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A disk that is full or refuses ends the fetch with `WriteError`."""
    try:
        yield
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror or error}"
        advice = "fix that and run again"
        if error.errno == errno.ENOSPC:
            advice = "make room and run again, what was received is kept"
        raise WriteError(f"{what}; {advice}") from error
