"""Files of this machine as sources: `file:` addresses, and how a change behind one is noticed."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json
from plm_scaling.sources.fetch.checksums import checksum_of
from plm_scaling.sources.fetch.verified import record_of
from plm_scaling.sources.fetch.web import file_behind
from plm_scaling.sources.table import Source


def watched_file(row: Source, table: Path, raw: Path) -> Path | None:
    """The file of this machine whose change must fetch the source again; None if there is none.

    A checksum in the table says what the source is, so that such a file may be newer than its copy
    `raw` but not another. Raises `SourceError` if it is, if neither file nor copy exists, and where
    Snakemake could not notice the change.
    """
    path = file_behind(row.url, table.resolve().parent.parent)
    if path is None or (not path.is_file() and row.mirror and not raw.exists()):
        return None
    if not path.is_file() and not raw.exists():
        raise SourceError(
            f"source {row.name}: {path} does not exist; correct its url in {table}, or put the "
            "file there"
        )
    both = path.is_file() and raw.exists()
    is_newer = both and path.stat().st_mtime > raw.stat().st_mtime
    if row.checksum:
        if is_newer and (found := checksum_of(path, row.checksum)) != row.checksum:
            raise SourceError(
                f"source {row.name}: {path} was changed: it has {found}, {table} says "
                f"{row.checksum}; correct bytes and checksum there, or the file"
            )
        return None
    if both and not is_newer and _is_another(path, raw):
        raise SourceError(
            f"source {row.name}: {path} is not what its copy {raw} is, and not newer; touch it, so "
            "that it is copied again"
        )
    if "{" in str(path):
        raise SourceError(
            f"source {row.name}: Snakemake cannot watch {path}, whose name has braces; rename it, "
            f"or give its checksum in {table}"
        )
    # A relative path stays the same when all folders move.
    return path if urlsplit(row.url).path.startswith("/") else Path(os.path.relpath(path))


def _is_another(path: Path, raw: Path) -> bool:
    """Whether a file is not what was copied; it is read only where its time is another."""
    if path.stat().st_size != raw.stat().st_size:
        return True
    try:
        copied = read_json(record_of(raw))
        if copied["from_modified_ns"] == path.stat().st_mtime_ns:
            return False
        return checksum_of(path, copied["found"]) != str(copied["found"])
    except (OSError, ValueError, KeyError, TypeError):  # no record, or of an earlier version
        return False
