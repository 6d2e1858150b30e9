"""Fetch one raw file of the source table, from its address or mirror, and verify it."""

import logging
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from plm_scaling.errors import SourceError
from plm_scaling.lock import held
from plm_scaling.progress import Progress, short_number
from plm_scaling.sources.checksums import Expected, checksum_of, published
from plm_scaling.sources.download import download
from plm_scaling.sources.partial import Origin, Partial, WriteError
from plm_scaling.sources.table import Source, find_file

logger = logging.getLogger("plm_scaling")

BLOCK_BYTES = 1 << 20


def fetch_source(table: Path, file: str, out: Path) -> None:
    """Bring the raw file `file` of the table to `out`; length and checksum are verified.

    A `file:` address is relative to the folder above the table's folder (the repository's root).
    What was received before an interruption or a kill lies beside `out` as `.NAME.part` and is
    gone on with. Raises `SourceError` naming each address tried, its status and the bytes received,
    or what the disk lacks; `out` then does not exist or is what it was before. Raises `LockError`
    when another process is fetching it.
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
        _fetch_to(out, table, file, addresses, _expected(row, root))


def _fetch_to(out: Path, table: Path, file: str, addresses: list[str], expected: Expected) -> None:
    """Try the addresses in turn, first the one whose bytes are there already."""
    root = table.resolve().parent.parent
    partial = Partial(out)
    partial.check_space(expected.bytes)
    begun = partial.origin()
    if begun is not None and begun.url in addresses:  # where a killed process was: go on there
        addresses.sort(key=lambda address: address != begun.url)
    problems = []
    for address in addresses:
        try:
            _fetch(address, root, partial, expected, f"fetch {file}")
        except WriteError:
            raise
        except SourceError as error:
            problems.append(str(error))
            logger.warning("[sources] %s", error)
        else:
            checked = expected.checksum.partition(":")[0] or "length only"
            size = short_number(out.stat().st_size)
            logger.info("[sources] %s: %sB from %s, verified (%s)", file, size, address, checked)
            return
    raise SourceError(
        f"{file} could not be fetched: {'; '.join(problems)}. Check the addresses, bytes and "
        f"checksum in {table}, or the network, and run again"
    )


def _expected(row: Source, root: Path) -> Expected:
    """Length and checksum from the table, and what it lacks from the provider's list."""
    if row.checksum or not row.checksum_list:
        return Expected(row.bytes, row.checksum)
    found = published(row.checksum_list, row.url, root)
    logger.info("[sources] %s: %s according to %s", row.file, found.checksum, row.checksum_list)
    return Expected(row.bytes if row.bytes is not None else found.bytes, found.checksum)


def _fetch(address: str, root: Path, partial: Partial, expected: Expected, label: str) -> None:
    """Download and verify; a file pieced together from several attempts gets a second chance."""
    if urlsplit(address).scheme == "file":
        _copy(address, root, partial, expected, label)
        return _verify(address, partial, expected)
    pieced = download(address, partial, expected.bytes, label, may_mix=bool(expected.checksum))
    try:
        _verify(address, partial, expected)
    except SourceError as error:
        if not pieced or isinstance(error, WriteError):
            raise
        logger.warning("[sources] %s; fetching it again from its first byte", error)
        download(address, partial, expected.bytes, label)
        _verify(address, partial, expected)


def _verify(address: str, partial: Partial, expected: Expected) -> None:
    """Compare length and checksum and put the file in place; a wrong file is removed."""
    size = partial.size
    if expected.bytes is not None and size != expected.bytes:
        partial.discard()
        raise SourceError(f"{address} gave {size} bytes, expected {expected.bytes}")
    algorithm = expected.checksum.partition(":")[0] or "sha256"
    found = checksum_of(partial.path, algorithm)
    if expected.checksum and found != expected.checksum:
        partial.discard()
        raise SourceError(f"{address} gave {size} bytes with {found}, expected {expected.checksum}")
    if not expected.checksum:
        logger.warning(
            "[sources] %s: the table has no checksum; the file received has %s, which the table "
            "may pin",
            partial.out.name,
            found,
        )
    partial.finish()


def _copy(address: str, root: Path, partial: Partial, expected: Expected, label: str) -> None:
    """Copy a file of this machine."""
    path = root / url2pathname(urlsplit(address).path)
    if not path.is_file():
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
