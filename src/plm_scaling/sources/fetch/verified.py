"""What a raw file was compared with, and the record of it.

Beside a raw file lies `.NAME.verified.json`, which says what the file was compared with. It holds
as long as the file and what the table says of it stay as they were.
"""

from pathlib import Path
from typing import Any, NamedTuple

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import logger
from plm_scaling.sources.fetch.checksums import Expected, checksum_of, published
from plm_scaling.sources.fetch.first_bytes import wrong_beginning
from plm_scaling.sources.fetch.partial import Origin
from plm_scaling.sources.table import Source


def record_of(raw: Path) -> Path:
    """Where the record of a raw file lies."""
    return raw.with_name(f".{raw.name}.verified.json")


class Compared(NamedTuple):
    """A file's own checksum, where the one that it equals is stated ('' if none is), and whether
    its length was compared. Only a checksum verifies."""

    checksum: str
    stated_by: str
    length: bool

    def __str__(self) -> str:
        if self.stated_by:
            return f"verified ({self.checksum.partition(':')[0]} from {self.stated_by})"
        if self.length:
            return "not verified: only its length was compared"
        return "not verified: no length or checksum known"


def expected_of(row: Source, root: Path) -> Expected:
    """Length and checksum from the table, and what it lacks from the provider's list."""
    if row.checksum or not row.checksum_list:
        return Expected(row.bytes, row.checksum)
    found = published(row.checksum_list, row.url, root)
    logger.info("[sources] %s: %s according to %s", row.file, found.checksum, row.checksum_list)
    return Expected(row.bytes if row.bytes is not None else found.bytes, *found[1:])


def compare(
    path: Path, file: str, expected: Expected, name: str, announced: Origin | None = None
) -> Compared:
    """Compare first bytes, length and checksum of what is to be `file` with what they must be,
    where that is known.

    `announced`: what a server stated. Raises `SourceError`, naming `name`.
    """
    instead = wrong_beginning(path, file)
    if instead is not None:
        raise SourceError(f"{name} holds {instead}")
    size = path.stat().st_size
    if expected.bytes is not None and size != expected.bytes:
        raise SourceError(f"{name} has {size} bytes, expected {expected.bytes}")
    _, checksum, stated_by = expected
    if not checksum and announced is not None:
        checksum, stated_by = announced.checksum, f"the header {announced.header}"
    found = checksum_of(path, checksum or "sha256")
    if not checksum:
        logger.warning(
            f"[sources] {name}: no checksum is stated; the file has {found}, which the table may "
            "pin"
        )
        length = expected.bytes is not None or (
            announced is not None and announced.length is not None
        )
        return Compared(found, "", length)
    if found != checksum:
        raise SourceError(
            f"{name} has {size} bytes and {found}, expected {checksum} according to {stated_by}"
        )
    return Compared(found, stated_by, True)


def is_recorded(raw: Path, row: Source) -> bool:
    """Whether the file was compared as it is, with what the table says now."""
    try:
        return _state(raw, row).items() <= read_json(record_of(raw)).items()
    except (OSError, ValueError, AttributeError):
        return False


def record(raw: Path, row: Source, compared: Compared, origin: str | None = None) -> None:
    """Write it; `origin` is the address that the file was fetched from, None if it was found."""
    result = {
        "verified_by": compared.checksum.partition(":")[0] if compared.stated_by else None,
        "stated_by": compared.stated_by or None,
        "length_compared": compared.length,
        "found": compared.checksum,
        "from": origin,
    }
    try:
        write_json(record_of(raw), _state(raw, row) | result)
    except OSError as error:  # a folder of others: verified again at the next use
        logger.warning("[sources] %s cannot be written: %s", record_of(raw), error.strerror)


def _state(raw: Path, row: Source) -> dict[str, Any]:
    """What the result holds for: the file as it is, and what the table says of it."""
    size, modified = raw.stat().st_size, raw.stat().st_mtime_ns
    stated = {name: getattr(row, name) for name in ("bytes", "checksum", "checksum_list")}
    return {"size": size, "modified_ns": modified, "table": stated}
