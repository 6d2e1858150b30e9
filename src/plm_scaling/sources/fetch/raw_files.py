"""What each raw file was compared with, and the verification of one that no fetch has brought.

Beside a raw file lies `.NAME.verified.json`, which says what the file was compared with. It holds
as long as the file and what the table says of it stay as they were.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import logger
from plm_scaling.sources.fetch.checksums import Expected, checksum_of, published
from plm_scaling.sources.fetch.download import WEB_PAGE
from plm_scaling.sources.read.streams import open_stream, reading
from plm_scaling.sources.table import Source, find_file

ANNOUNCED = "length announced by the server"


class Compared(NamedTuple):
    """A file's own checksum, and by what it was verified: '' if there is nothing to compare."""

    checksum: str
    by: str

    def __str__(self) -> str:
        if not self.by:
            return "not verified: no length or checksum known"
        return f"verified ({self.by}{' only' if 'length' in self.by else ''})"


def record_of(raw: Path) -> Path:
    """What the raw file was compared with, and where it is from."""
    return raw.with_name(f".{raw.name}.verified.json")


def expected_of(row: Source, root: Path) -> Expected:
    """Length and checksum from the table, and what it lacks from the provider's list."""
    if row.checksum or not row.checksum_list:
        return Expected(row.bytes, row.checksum)
    found = published(row.checksum_list, row.url, root)
    logger.info("[sources] %s: %s according to %s", row.file, found.checksum, row.checksum_list)
    return Expected(row.bytes if row.bytes is not None else found.bytes, found.checksum)


def compare(path: Path, expected: Expected, name: str, announced: int | None = None) -> Compared:
    """Compare a file's length and checksum with what they must be, where that is known.

    `announced`: the length in bytes that a server stated. Raises `SourceError`, naming `name`.
    """
    size = path.stat().st_size
    if expected.bytes is not None and size != expected.bytes:
        raise SourceError(f"{name} has {size} bytes, expected {expected.bytes}")
    found = checksum_of(path, expected.checksum or "sha256")
    if expected.checksum and found != expected.checksum:
        raise SourceError(f"{name} has {size} bytes and {found}, expected {expected.checksum}")
    if not expected.checksum:
        logger.warning(
            f"[sources] {name}: the table has no checksum; the file has {found}, which the table "
            "may pin"
        )
    by = "length" if expected.bytes is not None else ANNOUNCED if announced is not None else ""
    return Compared(found, expected.checksum.partition(":")[0] or by)


def record(
    raw: Path,
    row: Source,
    compared: Compared,
    origin: str | None = None,
    modified_ns: int | None = None,
) -> None:
    """Write it; `origin` is the address that the file was fetched from, None if it was found, and
    `modified_ns` the time of a file of this machine there."""
    result = {
        "verified_by": compared.by or None,
        "found": compared.checksum,
        "from": origin,
        "from_modified_ns": modified_ns,
    }
    try:
        write_json(record_of(raw), _state(raw, row) | result)
    except OSError as error:  # a folder of others: verified again at the next use
        logger.warning("[sources] %s cannot be written: %s", record_of(raw), error.strerror)


def verify_raw(table: Path, file: str, raw: Path) -> None:
    """Verify a raw file that no fetch has verified as it is now, once, and record the result.

    Raises `SourceError` for a file that is missing, empty, a web page, not compressed as its name
    says, or not what the table says; the file stays.

    Args:
        table: resources/sources.tsv
        file: a file name of the table's column file
        raw: where the file lies
    """
    if not raw.is_file():
        raise SourceError(f"{raw} does not exist; fetch the source first")
    row = find_file(table, file)
    state = _state(raw, row)
    try:
        if state.items() <= read_json(record_of(raw)).items():
            return
    except (OSError, json.JSONDecodeError, AttributeError):
        pass
    try:
        with open_stream(raw) as stream, reading(raw):
            first = stream.read(64)
        if first.lstrip()[:5].lower() in WEB_PAGE:
            raise SourceError(f"{raw} is a web page")
        compared = compare(raw, expected_of(row, table.resolve().parent), str(raw))
    except SourceError as error:
        raise SourceError(
            f"{error}. No fetch has put the file there as it is: move it away to have it fetched, "
            f"put the right one in its place, or correct the row of {file} in {table}"
        ) from error
    record(raw, row, compared)
    log = logger.info if compared.by else logger.warning
    log("[sources] %s was found in place, %s", raw, compared)


def _state(raw: Path, row: Source) -> dict[str, Any]:
    """What the result holds for: the file as it is, and what the table says of it."""
    size, modified = raw.stat().st_size, raw.stat().st_mtime_ns
    stated = {name: getattr(row, name) for name in ("bytes", "checksum", "checksum_list")}
    return {"size": size, "modified_ns": modified, "table": stated}
