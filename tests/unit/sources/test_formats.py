from pathlib import Path

import pytest
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.formats import read_records
from plm_scaling.sources.table import FORMATS, HAVE_COLUMNS, Source, find_source


def source(folder: Path, **columns: str) -> Source:
    kind = FORMATS[columns["format"]]
    row = {"name": "s", "kind": kind, "member": "", **columns}
    return find_source(write_table(folder / "t.tsv", row), "s")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_reader(tmp_path: Path, name: str) -> None:
    member = "" if name in HAVE_COLUMNS else "m"
    row = source(tmp_path, format=name, member=member)
    with pytest.raises(SourceError, match="gone does not exist"):
        next(read_records(row, tmp_path / "gone"))


def test_several_files_are_read_where_the_format_allows_it(tmp_path: Path) -> None:
    files = [tmp_path / "a.fasta", tmp_path / "b.fasta"]
    for number, file in enumerate(files):
        file.write_text(f">p{number}\nMK\n")
    batches = read_records(source(tmp_path, format="fasta"), files)
    assert [(one.first, one.ids) for one in batches] == [(1, [b"p0"]), (2, [b"p1"])]
    with pytest.raises(SourceError, match="source s: format uniref_xml is read from one file"):
        read_records(source(tmp_path, format="uniref_xml"), files)


def test_columns_belong_to_tables_and_members_to_archives(tmp_path: Path) -> None:
    row = source(tmp_path, format="parquet", sequence_column="seq", id_column="acc")
    assert row.reading == "protein parquet  seq acc"
    assert source(tmp_path, format="fasta", member="m").reading == "protein fasta m"
    with pytest.raises(SourceError, match="column member: 'm'; parquet has none"):
        source(tmp_path, format="parquet", member="m")
    with pytest.raises(SourceError, match="column id_column: 'acc'; fasta has none"):
        source(tmp_path, format="fasta", id_column="acc")
