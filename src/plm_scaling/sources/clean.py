"""Validate and normalise one source: upper case, one line per sequence, header = id."""

import logging
from collections.abc import Iterator
from pathlib import Path

from plm_scaling.counts import Counts
from plm_scaling.errors import SourceError
from plm_scaling.files import atomic
from plm_scaling.progress import Progress, short_number
from plm_scaling.sources.fasta import CHUNK_BYTES, read_fasta
from plm_scaling.sources.unique import NameHashes, first_repeated

logger = logging.getLogger("plm_scaling")


def clean_source(source: str, fasta: Path, out: Path, counts: Path) -> None:
    """Write the records of `fasta` (plain or gzip) to `out`, and what was counted to `counts`.

    `out` has two lines per record, `>id` and the residues in upper case. No record is dropped:
    lower case, Windows line ends and a `*` at the end are mended and counted, every other fault
    raises `SourceError` naming file, record and line, as does an id that occurs twice.
    """
    table = Counts("clean")
    hashes = out.with_name(f".{out.name}.hashes")
    with atomic(out) as temporary, NameHashes(hashes) as names:
        with temporary.open("wb") as file:
            progress = Progress(f"clean {source}", 0, "residues")
            for records in read_fasta(fasta):
                lines = [b""] * (2 * len(records.ids))
                lines[0::2] = [b">" + name for name in records.ids]
                lines[1::2] = records.sequences
                file.write(b"\n".join(lines) + b"\n")
                names.add(records.ids)
                residues = sum(map(len, records.sequences))
                table.add(source, "in", len(records.ids), residues)
                for what, (sequences, concerned) in records.handled.items():
                    table.add(source, f"handled:{what}", sequences, concerned)
                progress.add(residues)
        if suspects := names.suspects():
            _refuse_repeated(fasta, temporary, suspects)
        sequences, residues = table.get(source, "in")
        table.add(source, "kept", sequences, residues)
        table.write(counts)
    handled = [
        f"{table.get(source, reason)[0]} with {reason.removeprefix('handled:').replace('_', ' ')}"
        for reason in table.reasons(source)
        if reason.startswith("handled:")
    ]
    logger.info(
        "[clean] %s: %s sequences, %s residues%s",
        source,
        f"{sequences:,}",
        short_number(residues),
        f"; mended {', '.join(handled)}" if handled else "",
    )


def _refuse_repeated(fasta: Path, cleaned: Path, suspects: set[int]) -> None:
    repeated = first_repeated(_names(cleaned), suspects)
    if repeated is not None:
        name, first, second = repeated
        raise SourceError(
            f"{fasta}: id {name.decode(errors='replace')!r} occurs twice, in records {first} and "
            f"{second}; ids must be unique within a source, remove or rename one"
        )


def _names(cleaned: Path) -> Iterator[bytes]:
    with cleaned.open("rb", buffering=CHUNK_BYTES) as file:
        for line in file:
            if line.startswith(b">"):
                yield line[1:-1]
