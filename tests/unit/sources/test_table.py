from pathlib import Path

import pytest
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.table import COLUMNS, find_file, find_source, read_sources

GOOD = {"name": "good", "url": "https://a.org/g.gz", "mirror": "http://b.org/g.gz"}


def test_table_row_is_read_with_its_types(tmp_path: Path) -> None:
    row = {**GOOD, "bytes": "7", "checksum": f"md5:{'0a' * 16}", "released": "2023-05-03"}
    source = find_source(write_table(tmp_path / "t.tsv", row), "good")
    assert source.bytes == 7
    assert source.file == "good.fasta.gz"
    assert source.reading == "protein fasta"
    for fact in ("https://a.org/g.gz", "http://b.org/g.gz", "7", "md5:0a"):
        assert fact in source.facts


@pytest.mark.parametrize("column", ["release", "url", "mirror", "bytes", "checksum"])
def test_table_facts_change_with_what_makes_the_file(tmp_path: Path, column: str) -> None:
    other = {"bytes": "8", "checksum": f"md5:{'0b' * 16}"}.get(column, "http://c.org/g.gz")
    table = write_table(tmp_path / "t.tsv", GOOD, {**GOOD, "name": "x", "file": "x", column: other})
    sources = read_sources(table)
    assert sources["good"].facts != sources["x"].facts


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "two words"),
        ("name", ""),
        ("released", "May 2023"),
        ("kind", "code"),
        ("kind", "dna"),
        ("format", "genbank"),
        ("format", "colabfold_members"),  # without member
        ("format", "text_archive"),  # of protein
        ("file", "raw/s.gz"),
        ("file", "../s.gz"),
        ("file", ""),
        ("url", "ftp://a.org/x"),
        ("url", ""),  # there is a mirror
        ("url", "https://a.org/two words"),
        ("url", "https:///x"),
        ("url", "https://[x"),
        ("url", "https://a.org:port/x"),
        ("mirror", "b.org/x"),
        ("checksum_list", "RELEASE.metalink"),
        ("bytes", "12 GB"),
        ("bytes", "-1"),
        ("checksum", "0a" * 32),
        ("checksum", "sha256:0a"),
        ("checksum", "sha1:" + "0a" * 20),
        ("checksum", "sha256:" + "0A" * 32),
        ("checksum", "sha256:"),
        ("licence", ""),
    ],
)
def test_table_wrong_value_names_line_and_column(tmp_path: Path, column: str, value: str) -> None:
    bad = {**GOOD, "name": "bad", "file": "bad.gz", column: value}
    table = write_table(tmp_path / "t.tsv", GOOD, bad)
    wrong = {"colabfold_members": "member", "text_archive": "kind"}.get(value, column)
    with pytest.raises(SourceError, match=rf"t\.tsv, line 3, column {wrong}: "):
        read_sources(table)


def test_table_wrong_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("name\tversion\n")
    with pytest.raises(SourceError, match=r"t\.tsv, line 1: .*version"):
        read_sources(path)
    path.write_text("\t".join(COLUMNS) + "\nshort\trow\n")
    with pytest.raises(SourceError, match=r"t\.tsv, line 2: 2 fields, expected 18"):
        read_sources(path)
    path.write_text("")
    with pytest.raises(SourceError, match=r"t\.tsv"):
        read_sources(path)
    with pytest.raises(SourceError, match=r"gone\.tsv does not exist"):
        read_sources(tmp_path / "gone.tsv")


def test_table_name_twice_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"line 3, column name: 'good' is listed in line 2"):
        read_sources(write_table(tmp_path / "t.tsv", GOOD, GOOD))


def test_table_rows_may_share_a_file(tmp_path: Path) -> None:
    shared = {**GOOD, "file": "a.tar.gz", "member": "one"}
    table = write_table(tmp_path / "t.tsv", shared, {**shared, "name": "b", "member": "two"})
    assert find_file(table, "a.tar.gz").name == "good"
    assert find_source(table, "b").member == "two"


@pytest.mark.parametrize("column", ["url", "mirror", "bytes", "checksum"])
def test_table_rows_that_share_a_file_agree(tmp_path: Path, column: str) -> None:
    other = {"bytes": "8", "checksum": f"md5:{'0b' * 16}"}.get(column, "http://c.org/g.gz")
    shared = {**GOOD, "file": "a.tar.gz"}
    table = write_table(tmp_path / "t.tsv", shared, {**shared, "name": "b", column: other})
    with pytest.raises(SourceError, match=rf"line 3, column {column}: differs from line 2"):
        read_sources(table)


def test_table_unknown_names_list_the_known(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", GOOD, {**GOOD, "name": "x", "file": "x.gz"})
    with pytest.raises(SourceError, match="no source 'other'; it has good, x"):
        find_source(table, "other")
    with pytest.raises(SourceError, match=r"file 'other'; it has good\.fasta\.gz, x\.gz"):
        find_file(table, "other")
