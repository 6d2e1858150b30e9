"""Each format of the source table with its reader."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plm_scaling.sources.read.colabfold import read_colabfold
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.documents import read_documents
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.records import Records
from plm_scaling.sources.read.uniprot_xml import read_uniprot, read_uniref
from plm_scaling.sources.table import Source


def read_records(row: Source, files: Sequence[Path]) -> Iterator[Records]:
    """The records of a source's files, some thousands at a time, whatever their format. Formats
    that are not in `addresses.SUFFIXES` have one file."""
    raw = files[0]
    match row.format:
        case "fasta":
            return read_fasta(files, row.member)
        case "uniref_xml":
            return read_uniref(raw, row.member)
        case "uniprot_xml":
            return read_uniprot(raw, row.member)
        case "parquet" | "arrow":
            return read_columns(files, row.sequence_column, row.id_column)
        case "colabfold_representatives":
            return read_colabfold(raw, row.member, representatives=True)
        case "colabfold_members":
            return read_colabfold(raw, row.member, representatives=False)
        case "text_archive":
            return read_documents(raw, row.member)
        case other:
            raise AssertionError(f"format {other} of the source table has no reader")
