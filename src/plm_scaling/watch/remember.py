"""Values that follow from files are computed anew when one of these changes."""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")
Stamp = tuple[tuple[int, int, int] | None, ...]


class Remembered:
    """Values by key, each with what its files were like when it was made."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Stamp, Any]] = {}

    def of(self, key: Hashable, files: Iterable[Path], make: Callable[[], Made]) -> Made:
        """The value of `key`: what `make` gives, or gave while `files` were what they are now."""
        stamp = tuple(map(_stamp, files))  # before it is made: a change meanwhile is then seen
        known = self._known.get(key)
        if known is not None and known[0] == stamp:
            made: Made = known[1]
            return made
        made = make()
        self._known[key] = (stamp, made)
        return made


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Time of change, size and number of a file; None without one."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
