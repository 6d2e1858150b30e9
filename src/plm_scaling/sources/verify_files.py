"""Files of this machine are compared with the checksum that is stated of them."""

from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import write_json
from plm_scaling.common.progress import logger
from plm_scaling.sources.fetch.checksums import checksum_of
from plm_scaling.sources.table import Source, find_source


def verify_files(table: Path, source: str, files: list[Path], out: Path) -> None:
    """Compare the files of a source with the checksum that is stated, and record their own.

    Raises `SourceError` for another checksum; the file stays as it is.

    Args:
        table: resources/sources.tsv
        source: name of a row of the table, or a source of one's own in JSON
        files: its files on this machine
        out: what they were compared with (JSON)
    """
    row = find_source(table, source)
    found = verify_row_files(row, files)
    write_json(out, {"verified_by": row.checksum.partition(":")[0] or None, "found": found})


def verify_row_files(row: Source, files: list[Path]) -> dict[str, str]:
    """The checksums of the files of a row; raises as above."""
    found = {str(file): checksum_of(file, row.checksum or "sha256") for file in files}
    for file, checksum in found.items():
        if row.checksum and checksum != row.checksum:
            raise SourceError(
                f"source {row.name}: {file} has {checksum}, but {row.checksum} is stated; correct "
                "the checksum, or the file"
            )
        if not row.checksum:
            logger.warning(
                "[sources] %s: %s is not verified: no checksum is stated; it has %s, which can be",
                *(row.name, file, checksum),
            )
    return found
