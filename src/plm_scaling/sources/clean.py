"""Clean one source: upper case, one line per record, each in the file of its part.

Records that cannot be used are set aside in `rejected.parquet` with the reason; for every source
in = kept + rejected.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import atomic
from plm_scaling.common.parts import check_parts
from plm_scaling.common.progress import Progress, logger, short_number
from plm_scaling.common.rows import RowWriter
from plm_scaling.sources.fetch.raw_files import verify_raw
from plm_scaling.sources.part_files import PartFiles
from plm_scaling.sources.read.colabfold import read_colabfold
from plm_scaling.sources.read.documents import read_documents
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.records import Records, Rejected
from plm_scaling.sources.read.uniref_xml import read_uniref
from plm_scaling.sources.table import Source, find_source
from plm_scaling.sources.unique import Repeated, hashes_of, repeated_hashes

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
MORE_SUSPECTS = 1 << 20  # hashes looked up beyond the repeats that are allowed, to name the first


def clean_source(
    table: Path, source: str, raw: Path, parts: int, max_rejected_fraction: float, out: Path
) -> None:
    """Write the folder `out` from the raw file of `source`, whole or not at all.

    `out` gets a FASTA file per part (a power of two of them; two lines per record, `>id` and the
    residues in upper case or, of source code, the document with `\\r` for line ends), counts.tsv
    and rejected.parquet. Lower case, Windows line ends and a `*` at the end are fixed and
    counted. The second record of an id is rejected. Raises `SourceError` if the raw file is missing
    or damaged, or more than `max_rejected_fraction` of its records are rejected, naming the first.

    Args:
        table: resources/sources.tsv
        source: name of a row of the table
        raw: its raw file
        parts: number of parts, a power of two
        max_rejected_fraction: stop if a larger share of the records cannot be used
        out: the folder that is made
    """
    check_parts(parts)
    row = find_source(table, source)
    verify_raw(table, row.file, raw)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        hashes = folder / ".hashes"
        cleaned = _Cleaned(row, folder, parts)
        with hashes.open("wb") as file:
            for records in read_records(row, raw):
                hashes_of(records.ids).tofile(file)
                cleaned.add(records)
        cleaned.close()
        allowed = int(max_rejected_fraction * cleaned.records) - cleaned.rejected
        suspects = repeated_hashes(hashes, max(allowed, 0) + MORE_SUSPECTS)
        hashes.unlink()
        if suspects is None:
            raise _refusal(raw, cleaned, max_rejected_fraction, ", and too many ids occur twice")
        if len(suspects) and allowed >= 0:  # now that they are known, they can be set aside
            cleaned = _Cleaned(row, folder, parts)
            repeated = Repeated(suspects)
            for records in read_records(row, raw):
                cleaned.add(_without(records, repeated.among(records.ids)))
            cleaned.close()
        if cleaned.rejected > max_rejected_fraction * cleaned.records:
            raise _refusal(raw, cleaned, max_rejected_fraction)
        if cleaned.records == cleaned.rejected:
            raise _refusal(raw, cleaned, max_rejected_fraction, ", so none is left")
        cleaned.counts.write(folder / "counts.tsv")
    _report(cleaned)


def read_records(row: Source, raw: Path) -> Iterator[Records]:
    """The records of a source's raw file, some thousands at a time, whatever its format."""
    match row.format:
        case "uniref_xml":
            return read_uniref(raw, row.member)
        case "colabfold_representatives":
            return read_colabfold(raw, row.member, representatives=True)
        case "colabfold_members":
            return read_colabfold(raw, row.member, representatives=False)
        case "text_archive":
            return read_documents(raw, row.member)
        case _:
            return read_fasta(raw, row.member)


class _Cleaned:
    """The files of one pass over the source, and what was counted."""

    def __init__(self, row: Source, folder: Path, parts: int) -> None:
        self.source = row.name
        self.counts = Counts("clean")
        self.records = self.rejected = 0
        self.first: list[Rejected] = []
        self._files = PartFiles(folder, parts)
        self._set_aside = RowWriter(folder / "rejected.parquet", REJECTED_SCHEMA)
        self._progress = Progress(f"clean {row.name}", 0, "residues")

    def add(self, records: Records) -> None:
        self._files.add(records.ids, records.sequences)
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
        self._progress.add(everything)

    def close(self) -> None:
        self._files.flush()
        with self._set_aside:
            pass


def _without(records: Records, positions: list[int]) -> Records:
    """The batch with the records at `positions` rejected; what was fixed in them stays counted."""
    if not positions:
        return records
    gone = {rejected.record for rejected in records.rejected}
    numbers = [n for n in range(records.first, records.first + records.count) if n not in gone]
    rejected = records.rejected + [
        Rejected(numbers[p], None, records.ids[p], len(records.sequences[p]), "repeated_id")
        for p in positions
    ]
    kept = np.delete(np.arange(len(records.ids)), positions).tolist()
    return Records(
        [records.ids[i] for i in kept],
        [records.sequences[i] for i in kept],
        records.first,
        records.handled,
        sorted(rejected, key=lambda one: one.record),
    )


def _refusal(raw: Path, cleaned: _Cleaned, fraction: float, more: str = "") -> SourceError:
    named = [
        f"record {one.record}"
        + (f" in line {one.line}" if one.line is not None else "")
        + f" ({one.id.decode(errors='replace')!r}: {one.reason.replace('_', ' ')})"
        for one in cleaned.first
    ]
    return SourceError(
        f"{raw}: {cleaned.rejected} of {cleaned.records} records cannot be used{more}; "
        f"at most a share of {fraction:g} may be rejected (max_rejected_fraction)"
        + (f". The first are {', '.join(named)}" if named else "")
        + ". Correct the file or fetch another"
    )


def _report(cleaned: _Cleaned) -> None:
    counts, source = cleaned.counts, cleaned.source
    sequences, residues = counts.get(source, "kept")
    notes = ""
    for title, wanted in (("fixed", True), ("rejected", False)):
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
