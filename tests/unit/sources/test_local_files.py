"""Sources on this machine: files, folders and patterns, and how a change of them is noticed."""

import os
from pathlib import Path

import pytest
from source_tables import local_row, write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json
from plm_scaling.sources.local_files import files_of, state_of
from plm_scaling.sources.table import Source, find_source, own_source
from plm_scaling.sources.verify_files import verify_files

RIGHT, OTHER = b">a\nMKVAC\n", b">a\nMKVAD\n"


def row(path: str, **fields: str) -> Source:
    return own_source("s", {"path": path, **fields})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with some files."""
    folder = tmp_path / "here"
    for name in ("mine.fasta", "set/b.faa.gz", "set/a.fa", "set/README.md", "set/.c.fa", "[1].fa"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RIGHT)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("mine.fasta", ["mine.fasta"]),
        ("set", ["set/a.fa", "set/b.faa.gz"]),
        ("set/*.fa", ["set/a.fa"]),
        ("**/*.fa*", ["[1].fa", "mine.fasta", "set/a.fa", "set/b.faa.gz"]),
        ("[1].fa", ["[1].fa"]),
        ("{here}/set/a.fa", ["set/a.fa"]),
        ("~/set/a.fa", ["set/a.fa"]),
        ("file:set/a.fa", ["set/a.fa"]),
    ],
)
def test_path_is_a_file_a_folder_or_a_pattern(
    here: Path, monkeypatch: pytest.MonkeyPatch, path: str, files: list[str]
) -> None:
    """What lies in the working directory is relative to it, so that it may move."""
    monkeypatch.setenv("HOME", str(here))
    table = write_table(here / "t.tsv", {"name": "s", "url": path.format(here=here)})
    assert files_of(find_source(table, "s")) == [Path(file) for file in files]


def test_several_paths_are_one_source(here: Path) -> None:
    several = own_source("s", {"path": ["set", "mine.fasta", "set/*.fa"]})
    files = ["mine.fasta", "set/a.fa", "set/b.faa.gz"]
    assert files_of(several) == [Path(file) for file in files]
    with pytest.raises(SourceError, match=r"source s: set/c\.fa does not exist"):
        files_of(own_source("s", {"path": ["mine.fasta", "set/c.fa"]}))
    with pytest.raises(SourceError, match=r"mine\.fasta is fasta and b\.parquet is parquet"):
        own_source("s", {"path": ["mine.fasta", "b.parquet"]})


def test_paths_of_a_table_are_relative_to_its_folder(here: Path) -> None:
    for column in ("path", "url"):
        table = write_table(here / "set/t.tsv", {"name": "s", column: "a.fa"})
        assert files_of(find_source(table, "s")) == [Path("set/a.fa")]
    outside = write_table(here.parent / "t.tsv", {"name": "s", "path": "x.fa"})
    (here.parent / "x.fa").write_bytes(RIGHT)
    assert files_of(find_source(outside, "s")) == [here.parent / "x.fa"]


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("gone.fa", {}, "gone.fa does not exist"),
        ("set/*.zip", {}, "set/*.zip does not exist"),
        ("set", {"format": "parquet"}, "holds no parquet file (.parquet"),
        ("set", {"format": "uniref_xml"}, "read from one"),
        ("set", {"checksum": "md5:" + "0a" * 16}, "2 files; bytes and checksum"),
        ("mine.fasta", {"bytes": "7"}, "has 9 bytes, not 7 as stated"),
        ("a{b}.fa", {}, "has braces"),
    ],
)
def test_what_cannot_be_read_is_named(
    here: Path, path: str, fields: dict[str, str], words: str
) -> None:
    (here / "a{b}.fa").write_bytes(RIGHT)
    with pytest.raises(SourceError) as raised:
        files_of(row(path, **fields))
    assert words in str(raised.value)
    assert "source s" in str(raised.value)


def test_edited_older_and_renamed_files_have_another_state(here: Path) -> None:
    def state() -> str:
        return state_of(files_of(row("set")))

    seen = [state()]
    (here / "set/a.fa").write_bytes(RIGHT + RIGHT)
    seen.append(state())
    (here / "set/a.fa").write_bytes(OTHER)
    os.utime(here / "set/a.fa", (1, 1))
    seen.append(state())
    (here / "set/a.fa").rename(here / "set/c.fa")
    seen.append(state())
    (here / "set/b.faa.gz").unlink()
    seen.append(state())
    assert len(set(seen)) == len(seen)
    assert state() == seen[-1]


def test_stated_checksum_is_compared_and_the_files_own_recorded(here: Path) -> None:
    path = here / "mine.fasta"
    stated = local_row("s", path)
    table, out = write_table(here / "t.tsv", stated), here / "out.json"
    verify_files(table, "s", [path], out)
    recorded = {"verified_by": "sha256", "found": {str(path): stated["checksum"]}}
    assert read_json(out) == recorded
    path.write_bytes(OTHER)
    with pytest.raises(SourceError, match=rf"source s: .*mine\.fasta has sha256.*{RIGHT_IS}"):
        verify_files(table, "s", [path], here / "other.json")
    assert not (here / "other.json").exists()
    assert path.read_bytes() == OTHER
    verify_files(table, '{"mine": {"path": "mine.fasta"}}', [path], out)
    assert read_json(out)["verified_by"] is None


RIGHT_IS = "is stated; correct the checksum, or the file"
