"""Each format of the source table with its reader."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.alphabet import proteins
from plm_scaling.sources.read.colabfold import read_colabfold
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.documents import read_documents
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.uniprot_xml import read_uniprot, read_uniref
from plm_scaling.sources.table import Source


def read_records(row: Source, raw: Path | Sequence[Path]) -> Iterator[Records]:
    """The records of a source's raw files, some thousands at a time, whatever the format."""
    files = [raw] if isinstance(raw, Path) else list(raw)
    match row.format:
        case "fasta":
            return read_fasta(files, row.member)
        case "parquet" | "arrow":
            records = read_columns(files, row.sequence_column, row.id_column)
            return proteins(records, files[0])
    if len(files) > 1:
        raise SourceError(
            f"source {row.name}: format {row.format} is read from one file, but there are "
            f"{len(files)}; make a source of each"
        )
    match row.format:
        case "uniref_xml":
            return read_uniref(files[0], row.member)
        case "uniprot_xml":
            return read_uniprot(files[0], row.member)
        case "colabfold_representatives":
            return read_colabfold(files[0], row.member, representatives=True)
        case "colabfold_members":
            return read_colabfold(files[0], row.member, representatives=False)
        case "text_archive":
            return read_documents(files[0], row.member)
    raise AssertionError(f"format {row.format} of the source table has no reader")
