"""Fetch one raw file of the source table, from its address or mirror, and verify it."""

import logging
from pathlib import Path
from urllib.parse import urlsplit

from plm_scaling.common.errors import SourceError
from plm_scaling.common.lock import held
from plm_scaling.common.progress import Progress, short_number
from plm_scaling.sources.fetch.checksums import Expected
from plm_scaling.sources.fetch.download import download
from plm_scaling.sources.fetch.local_files import file_behind
from plm_scaling.sources.fetch.partial import Origin, Partial, WriteError
from plm_scaling.sources.fetch.raw_files import Compared, compare, expected_of, record
from plm_scaling.sources.table import find_file

logger = logging.getLogger("plm_scaling")

BLOCK_BYTES = 1 << 20


def fetch_source(table: Path, file: str, out: Path) -> None:
    """Bring the raw file `file` of the table to `out`; length and checksum, if known, are verified.

    What it was compared with is recorded beside it (`raw_files`).
    A `file:` address is relative to the folder above the table's folder (the repository's root).
    What was received before an interruption or a kill lies beside `out` as `.NAME.part` and is
    resumed. Raises `SourceError` naming each address tried, its status and the bytes received,
    or what the disk lacks; `out` then does not exist or is what it was before. Raises `LockError`
    when another process is fetching it.

    Args:
        table: resources/sources.tsv
        file: a file name of the table's column file
        out: where the file goes
    """
    row = find_file(table, file)
    root = table.resolve().parent.parent
    addresses = [address for address in (row.url, row.mirror) if address]
    if not addresses:
        raise SourceError(
            f"{file} has no address in {table} ({row.role}); download it as described there and "
            f"put its address into the table, for example file:/path/to/{out.name}"
        )
    with held(out.with_name(f".{out.name}.lock")):
        times = {address: _modified_ns(address, root) for address in addresses}
        address, compared = _fetch_to(out, table, file, addresses, expected_of(row, root))
        record(out, row, compared, address, times[address])
    size = short_number(out.stat().st_size)
    log = logger.info if compared.by else logger.warning
    log("[sources] %s: %sB from %s, %s", file, size, address, compared)


def _modified_ns(address: str, root: Path) -> int | None:
    """When a file of this machine was last modified; None for another address or without it."""
    path = file_behind(address, root)
    return path.stat().st_mtime_ns if path is not None and path.is_file() else None


def _fetch_to(
    out: Path, table: Path, file: str, addresses: list[str], expected: Expected
) -> tuple[str, Compared]:
    """Try the addresses in turn, first the one whose bytes are there already."""
    root = table.resolve().parent.parent
    partial = Partial(out)
    partial.check_space(expected.bytes)
    begun = partial.origin()
    if begun is not None and begun.url in addresses:  # where a killed process was: resume there
        addresses.sort(key=lambda address: address != begun.url)
    problems = []
    for address in addresses:
        try:
            return address, _fetch(address, root, partial, expected, f"fetch {file}")
        except WriteError:
            raise
        except SourceError as error:
            problems.append(str(error))
            logger.warning("[sources] %s", error)
    raise SourceError(
        f"{file} could not be fetched: {'; '.join(problems)}. Check the addresses, bytes and "
        f"checksum in {table}, or the network, and run again"
    )


def _fetch(address: str, root: Path, partial: Partial, expected: Expected, label: str) -> Compared:
    """Download and verify; a file pieced together from several attempts gets a second chance."""
    if urlsplit(address).scheme == "file":
        _copy(address, root, partial, expected, label)
        return _verify(address, partial, expected)
    pieced = download(address, partial, expected.bytes, label, may_mix=bool(expected.checksum))
    try:
        return _verify(address, partial, expected)
    except SourceError as error:
        if not pieced or isinstance(error, WriteError):
            raise
        logger.warning("[sources] %s; fetching it again from its first byte", error)
        download(address, partial, expected.bytes, label)
        return _verify(address, partial, expected)


def _verify(address: str, partial: Partial, expected: Expected) -> Compared:
    """Compare length and checksum and put the file in place; a wrong file is removed."""
    origin = partial.origin()
    announced = origin.length if origin and urlsplit(address).scheme != "file" else None
    try:
        found = compare(partial.path, expected, address, announced)
    except SourceError:
        partial.discard()
        raise
    partial.finish()
    return found


def _copy(address: str, root: Path, partial: Partial, expected: Expected, label: str) -> None:
    """Copy a file of this machine."""
    path = file_behind(address, root)
    if path is None or not path.is_file():
        raise SourceError(f"{address}: {path} does not exist")
    try:
        with path.open("rb") as source:
            length = path.stat().st_size
            partial.restart(Origin(address, length=length))
            partial.check_space(length)
            progress = Progress(label, length, "B")
            with partial.append() as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                    progress.add(len(block))
    except OSError as error:
        raise SourceError(f"{address}: {error.strerror or error}") from error
