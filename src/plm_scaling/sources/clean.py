"""Clean one source: upper case, one line per record, each in the file of its part.

Records that cannot be used are set aside in `rejected.parquet` with the reason; for every source
in = kept + rejected.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import atomic
from plm_scaling.common.parts import check_parts
from plm_scaling.common.progress import logger, short_number
from plm_scaling.common.rows import RowWriter
from plm_scaling.sources.fetch.raw_files import verify_raw
from plm_scaling.sources.part_files import PartFiles
from plm_scaling.sources.read.formats import read_records
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.streams import counting, progress_of
from plm_scaling.sources.table import Source, find_source
from plm_scaling.sources.unique import Repeats

REJECTED_SCHEMA = pa.schema(
    [
        ("record", pa.int64()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("residues", pa.int64()),
        ("reason", pa.dictionary(pa.int8(), pa.string())),
        ("character", pa.string()),
        ("times", pa.int64()),
        ("file", pa.string()),
    ]
)
NAMED_RECORDS = 3
REJECTED = "rejected.parquet"


def clean_source(
    table: Path,
    source: str,
    raw: Sequence[Path] | Path,
    parts: int,
    max_rejected_fraction: float,
    out: Path,
) -> None:
    """Write the folder `out` from the raw file, or files, of `source`, whole or not at all.

    `out` gets a FASTA file per part (a power of two of them; two lines per record, `>id` and the
    residues in upper case or, of source code, the document with `\\r` for line ends), counts.tsv
    and rejected.parquet. What is fixed is counted, and so are repeated ids. Raises `SourceError` if
    a raw file is missing or damaged, or more than `max_rejected_fraction` of the records are
    rejected, naming the first; `OUT.rejected.parquet` then lists all.

    Args:
        table: resources/sources.tsv
        source: name of a row of the table, or a source of one's own in JSON
        raw: its raw file; files of this machine may be several
        parts: number of parts, a power of two
        max_rejected_fraction: stop if a larger share of the records cannot be used
        out: the folder that is made
    """
    check_parts(parts)
    row = find_source(table, source)
    files = [raw] if isinstance(raw, Path) else [*raw]
    if not row.path:  # else verified, where a checksum is stated, by `verify_files`
        verify_raw(table, row.file, files[0])
    refused = out.with_name(f"{out.name}.rejected.parquet")
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        cleaned = _Cleaned(row, folder, parts)
        with counting(progress_of(f"clean {row.name}", files)):
            for records in read_records(row, files):
                cleaned.add(records)
        cleaned.close()
        too_many = cleaned.rejected > max_rejected_fraction * cleaned.records
        if too_many or cleaned.rejected == cleaned.records:
            (folder / REJECTED).replace(refused)
            raise SourceError(
                f"{', '.join(map(str, files))}: {cleaned.rejected} of {cleaned.records} records "
                "cannot be used, "
                + (
                    f"at most a share of {max_rejected_fraction:g} may be rejected "
                    "(max_rejected_fraction)"
                    if too_many
                    else "so none is left"
                )
                + f"; {refused} lists them. The first are {', '.join(map(str, cleaned.first))}. "
                "Correct the file or give another"
            )
        cleaned.counts.write(folder / "counts.tsv")
    refused.unlink(missing_ok=True)
    _report(cleaned)


class _Cleaned:
    """The files of one pass over the source, and what was counted."""

    def __init__(self, row: Source, folder: Path, parts: int) -> None:
        self.source = row.name
        self.counts = Counts("clean")
        self.records = self.rejected = 0
        self.first: list[Rejected] = []
        self._files = PartFiles(folder, parts)
        self._repeats = Repeats(folder)
        self._set_aside = RowWriter(folder / REJECTED, REJECTED_SCHEMA)

    def add(self, records: Records) -> None:
        self._repeats.add(records.ids, self._files.add(records.ids, records.sequences))
        residues = sum(map(len, records.sequences))
        everything = residues + sum(rejected.residues for rejected in records.rejected)
        self.counts.add(self.source, "in", records.count, everything)
        self.counts.add(self.source, "kept", len(records.ids), residues)
        for what, (sequences, concerned) in records.handled.items():
            self.counts.add(self.source, f"handled:{what}", sequences, concerned)
        for rejected in records.rejected:
            self.counts.add(self.source, rejected.reason, 1, rejected.residues)
        if records.rejected:
            rows = [one.row for one in records.rejected]
            self._set_aside.write(pa.Table.from_pylist(rows, REJECTED_SCHEMA))
        self.records += records.count
        self.rejected += len(records.rejected)
        self.first += records.rejected[: NAMED_RECORDS - len(self.first)]

    def close(self) -> None:
        self._files.flush()
        copies, others = self._repeats.count()
        for what, sequences in (("repeated_record", copies), ("repeated_id", others)):
            if sequences:
                self.counts.add(self.source, f"handled:{what}", sequences, 0)
        with self._set_aside:
            pass


def _report(cleaned: _Cleaned) -> None:
    counts, source = cleaned.counts, cleaned.source
    sequences, residues = counts.get(source, "kept")
    notes = ""
    for title, wanted in (("fixed or counted", True), ("rejected", False)):
        reasons = [
            f"{counts.get(source, reason)[0]} {reason.removeprefix('handled:').replace('_', ' ')}"
            for reason in counts.reasons(source)
            if reason not in ("in", "kept") and reason.startswith("handled:") == wanted
        ]
        if reasons:
            notes += f"; {title}: {', '.join(reasons)}"
    logger.info(
        f"[clean] {source}: {sequences:,} records, {short_number(residues)} residues{notes}"
    )
