"""Fetch one raw file of the source table, from its address or mirror, and verify it."""

from collections.abc import Iterator
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.common.lock import held
from plm_scaling.common.progress import Progress, logger, short_bytes
from plm_scaling.sources.fetch.checksums import Expected
from plm_scaling.sources.fetch.download import download
from plm_scaling.sources.fetch.partial import Origin, Partial, WriteError
from plm_scaling.sources.fetch.verified import Compared, compare, expected_of, record
from plm_scaling.sources.fetch.web import file_behind
from plm_scaling.sources.table import Source, find_file

BLOCK_BYTES = 1 << 20


def fetch_source(table: Path, file: str, out: Path) -> None:
    """Bring the raw file `file` of the table to `out`; length and checksum, if known, are verified.

    What it was compared with is recorded beside it (`verified`).
    A `file:` address is relative to the table's folder.
    What was received before an interruption or a kill lies beside `out` as `.NAME.part` and is
    resumed. Raises `SourceError` naming each address tried, its status and the bytes received,
    or what the disk lacks; `out` then does not exist or is what it was before. Raises `LockError`
    when another process is fetching it.

    Args:
        table: resources/sources.tsv
        file: a file name of the table's column file
        out: where the file goes
    """
    fetch_row(find_file(table, file), table, out)


def fetch_row(row: Source, table: Path, out: Path) -> None:
    """The same for a file by its row of `table`."""
    file = row.file
    addresses = [address for address in (row.url, row.mirror) if address]
    if not addresses:
        raise SourceError(
            f"{file} has no address in {table} ({row.role}); download it as described there and "
            f"put its address into the table, for example file:/path/to/{out.name}"
        )
    root = table.resolve().parent
    with held(out.with_name(f".{out.name}.lock")):
        address, compared = _fetch_to(out, table, root, file, addresses, expected_of(row, root))
        record(out, row, compared, address)
    size = short_bytes(out.stat().st_size)
    log = logger.info if compared.stated_by else logger.warning
    log("[sources] %s: %s from %s, %s", file, size, address, compared)


def _fetch_to(
    out: Path, table: Path, root: Path, file: str, addresses: list[str], expected: Expected
) -> tuple[str, Compared]:
    """Try the addresses in turn, first the one whose bytes are there already."""
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
    path = file_behind(address, root)
    if path is not None:
        _copy(path, address, partial, label)
        return _verify(address, partial, expected, None)
    pieced = download(address, partial, expected.bytes, label, may_mix=bool(expected.checksum))
    try:
        return _verify(address, partial, expected, partial.origin())
    except SourceError as error:
        if not pieced or isinstance(error, WriteError):
            raise
        logger.warning("[sources] %s; fetching it again from its first byte", error)
        download(address, partial, expected.bytes, label)
        return _verify(address, partial, expected, partial.origin())


def _verify(
    address: str, partial: Partial, expected: Expected, announced: Origin | None
) -> Compared:
    """Compare length and checksum and put the file in place; a wrong file is removed."""
    try:
        found = compare(partial.path, partial.out.name, expected, address, announced)
    except SourceError:
        partial.discard()
        raise
    partial.finish()
    return found


def _copy(path: Path, address: str, partial: Partial, label: str) -> None:
    if not path.is_file():
        raise SourceError(f"{address}: {path} does not exist")
    length = path.stat().st_size
    progress = Progress(label, length, "B")

    def blocks() -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
                    progress.add(len(block))
        except OSError as error:
            raise SourceError(f"{address}: {error.strerror or error}") from error

    partial.restart(Origin(address, length=length))
    partial.check_space(length)
    partial.append(blocks())
