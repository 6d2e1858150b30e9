"""Fetch one source: from a file or over http(s), first address then mirror, verified."""

import hashlib
import logging
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from plm_scaling.errors import SourceError
from plm_scaling.files import atomic
from plm_scaling.progress import Progress, short_number
from plm_scaling.sources.table import Source, find_source

logger = logging.getLogger("plm_scaling")

BLOCK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


def fetch_source(table: Path, source: str, out: Path) -> None:
    """Copy the file of `source` to `out`, verifying size and SHA-256 where the table states them.

    A `file:` address is relative to the folder above the table's folder (the repository's root).
    Raises `SourceError` naming each address tried, its status and the bytes received; `out` then
    does not exist or is what it was before.
    """
    row = find_source(table, source)
    addresses = [address for address in (row.url, row.mirror) if address]
    if not addresses:
        raise SourceError(
            f"source {source!r} has no address in {table} ({row.role}); download it as described "
            f"there and put its address into the table, for example file:/path/to/{out.name}"
        )
    problems = []
    for address in addresses:
        try:
            with atomic(out) as temporary:
                size = _download(row, address, table.resolve().parent.parent, temporary)
        except SourceError as error:
            problems.append(str(error))
            logger.warning("[sources] %s", error)
        else:
            checked = "checksum verified" if row.sha256 else "no checksum in the table"
            logger.info(
                "[sources] %s: %sB from %s, %s", source, short_number(size), address, checked
            )
            return
    raise SourceError(
        f"source {source!r} could not be fetched: {'; '.join(problems)}. Check the addresses, "
        f"bytes and sha256 in {table}, or the network, and run again"
    )


def _download(row: Source, address: str, root: Path, out: Path) -> int:
    """Write the bytes behind `address` to `out`; return their number or raise `SourceError`."""
    digest = hashlib.sha256()
    received = 0
    try:
        stream, announced = _open(address, root)
        with stream, out.open("wb") as file:
            progress = Progress(f"sources {row.name}", row.bytes or announced or 0, "B")
            while block := stream.read(BLOCK_BYTES):
                if received == 0 and block.lstrip()[:15].lower().startswith((b"<!doc", b"<html")):
                    raise SourceError(f"{address} answered with a web page instead of sequences")
                file.write(block)
                digest.update(block)
                received += len(block)
                progress.add(len(block))
    except urllib.error.HTTPError as error:
        raise SourceError(f"{address} answered with status {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SourceError(f"{address}: {reason} after {received} bytes") from error
    expected = row.bytes if row.bytes is not None else announced
    if expected is not None and received != expected:
        raise SourceError(f"{address} gave {received} bytes, expected {expected}")
    if row.sha256 is not None and digest.hexdigest() != row.sha256:
        raise SourceError(
            f"{address} gave {received} bytes with sha256 {digest.hexdigest()}, "
            f"expected {row.sha256}"
        )
    return received


def _open(address: str, root: Path) -> tuple[BinaryIO, int | None]:
    """The byte stream behind an address, and its length where that is known."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        path = root / url2pathname(parts.path)
        if not path.is_file():
            raise SourceError(f"{address}: {path} does not exist")
        return path.open("rb"), path.stat().st_size
    if parts.scheme not in ("http", "https"):
        raise SourceError(f"{address}: only file:, http: and https: addresses are supported")
    request = urllib.request.Request(address, headers={"User-Agent": "plm-scaling"})
    response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    if response.status != 200:
        response.close()
        raise SourceError(f"{address} answered with status {response.status}")
    length = response.headers.get("Content-Length")
    return cast(BinaryIO, response), int(length) if length else None
