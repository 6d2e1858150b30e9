"""A change of a file behind a `file:` address is noticed."""

import os
from pathlib import Path

import pytest
from source_tables import local_row, write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch.local_files import watched_file
from plm_scaling.sources.fetch.source import fetch_source
from plm_scaling.sources.table import find_source

RIGHT, OTHER, HALF = b">a\nMKVAC\n", b">a\nMKVAD\n", b">a\nMK\n"


def watched(folder: Path, source: Path, **fields: str) -> Path | None:
    table = write_table(folder / "resources/t.tsv", {**local_row("s", source), **fields})
    return watched_file(find_source(table, "s"), table, folder / "raw")


def test_file_address_is_watched_and_must_exist(tmp_path: Path) -> None:
    source, copy = tmp_path / "mine.fasta", tmp_path / "raw"
    source.write_bytes(RIGHT)
    unpinned = {"bytes": "", "checksum": ""}
    assert watched(tmp_path, source, **unpinned) == source
    source.rename(tmp_path / "away")
    gone = {"url": f"file:{source}", **unpinned}
    with pytest.raises(SourceError, match=r"source s: .*/mine\.fasta does not exist"):
        watched(tmp_path, tmp_path / "away", **gone)
    assert watched(tmp_path, tmp_path / "away", **gone, mirror="http://h/x") is None
    copy.write_bytes(RIGHT)
    assert watched(tmp_path, tmp_path / "away", **gone) == source  # the copy serves
    assert watched(tmp_path, tmp_path / "away", **unpinned, url="https://h/x") is None


def test_file_replaced_by_an_older_one_is_noticed(tmp_path: Path) -> None:
    source, copy = tmp_path / "mine.fasta", tmp_path / "raw"
    source.write_bytes(HALF)
    os.utime(source, (0, 0))
    copy.write_bytes(RIGHT)
    with pytest.raises(SourceError, match=r"mine\.fasta is not what its copy .*raw is.*touch it"):
        watched(tmp_path, source, bytes="", checksum="")
    source.touch()
    assert watched(tmp_path, source, bytes="", checksum="") == source


def test_older_file_of_equal_size_is_noticed_by_its_content(tmp_path: Path) -> None:
    source, copy = tmp_path / "data/mine.fasta", tmp_path / "raw"
    source.parent.mkdir()
    source.write_bytes(RIGHT)
    unpinned = {"bytes": "", "checksum": ""}
    assert watched(tmp_path, source, **unpinned) == source
    fetch_source(tmp_path / "resources/t.tsv", "s.fasta.gz", copy)
    os.utime(source, (0, 0))
    assert watched(tmp_path, source, **unpinned) == source  # another time and the same content
    source.write_bytes(OTHER)
    os.utime(source, (0, 0))
    with pytest.raises(SourceError, match=r"mine\.fasta is not what its copy .*raw is.*touch it"):
        watched(tmp_path, source, **unpinned)


def test_file_whose_name_is_a_pattern_needs_a_checksum(tmp_path: Path) -> None:
    source = tmp_path / "{mine}.fasta"
    source.write_bytes(RIGHT)
    with pytest.raises(SourceError, match=r"source s: .*\{mine\}\.fasta, whose name has braces"):
        watched(tmp_path, source, bytes="", checksum="")
    assert watched(tmp_path, source) is None


def test_file_address_with_a_checksum_may_be_newer_but_not_another(tmp_path: Path) -> None:
    source, copy = tmp_path / "mine.fasta", tmp_path / "raw"
    source.write_bytes(RIGHT)
    copy.write_bytes(RIGHT)
    os.utime(copy, (0, 0))
    assert watched(tmp_path, source) is None
    stated = local_row("s", source)
    source.write_bytes(OTHER)
    with pytest.raises(SourceError, match=r"source s: .*mine\.fasta was changed: it has sha256"):
        watched(tmp_path, source, **stated)
