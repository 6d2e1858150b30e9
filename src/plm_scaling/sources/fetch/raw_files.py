"""A raw file that no fetch has brought is verified before its use, and replaced if wrong."""

import itertools
import os
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.common.progress import logger
from plm_scaling.sources.fetch.source import fetch_row
from plm_scaling.sources.fetch.verified import compare, expected_of, is_recorded, record
from plm_scaling.sources.table import Source, find_file


def verify_raw(table: Path, file: str, raw: Path) -> None:
    """Verify a raw file that no fetch has verified as it is now, once, and record the result.

    One that does not begin as its name promises, or is not what the table says, is moved to
    `.NAME.wrong` beside it, and the right one is fetched. Raises `SourceError` if the file is
    missing, if that fails, and for a wrong one without address in the table, which stays.

    Args:
        table: resources/sources.tsv
        file: a file name of the table's column file
        raw: where the file lies
    """
    verify_row(find_file(table, file), table, raw)


def verify_row(row: Source, table: Path, raw: Path) -> None:
    """The same for a file by its row of `table`."""
    if not raw.is_file():
        raise SourceError(f"{raw} does not exist; fetch the source first")
    if is_recorded(raw, row):
        return
    expected = expected_of(row, table.resolve().parent)
    before = _identity(raw)
    try:
        compared = compare(raw, raw.name, expected, str(raw))
    except SourceError as error:
        if not row.url or raw.is_symlink():  # nothing to replace it, or not ours to move
            raise SourceError(
                f"{error}. Put the right file in its place, or correct the row of {row.file} in "
                f"{table}"
            ) from error
        # A job of another source with the same file may have found the same and moved it.
        if not raw.is_file():
            raise SourceError(f"{error}. Another job fetches the right one; run again") from error
        if _identity(raw) != before:
            verify_row(row, table, raw)
        else:
            _replace(row, table, raw, str(error))
        return
    record(raw, row, compared)
    log = logger.info if compared.stated_by else logger.warning
    log("[sources] %s was found in place, %s", raw, compared)


def _identity(raw: Path) -> tuple[int, int, int]:
    stat = raw.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _replace(row: Source, table: Path, raw: Path, problem: str) -> None:
    """Move a wrong file aside, where nothing is overwritten, and fetch the right one."""
    numbers = ("" if n == 1 else f"-{n}" for n in itertools.count(1))
    names = (raw.with_name(f".{raw.name}.wrong{number}") for number in numbers)
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        raw.rename(aside)
    except OSError as error:
        raise SourceError(
            f"{problem}. It cannot be moved to {aside} ({error.strerror}); move it away yourself "
            "to have it fetched"
        ) from error
    logger.warning("[sources] %s: moved to %s, fetching the right one", problem, aside)
    try:
        fetch_row(row, table, raw)
    except SourceError as error:
        raise SourceError(f"{problem}. It was moved to {aside}, and {error}") from error
