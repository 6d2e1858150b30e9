"""Raw files put there by hand are verified before use, and only what was is called verified."""

import gzip
import hashlib
import logging
import os
from pathlib import Path

import pytest
from faulty_server import Server
from fetching import CONTENT, LENGTH, WITH_CHECKSUM, fetch
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.common.files import read_json
from plm_scaling.sources.clean import clean_source
from plm_scaling.sources.fetch import raw_files
from plm_scaling.sources.fetch.raw_files import record_of, verify_raw

RIGHT = gzip.compress(b">a\nMKVAC\n", mtime=0)
OTHER = gzip.compress(b">a\nMKVAD\n", mtime=0)
HALF = gzip.compress(b">a\nMKV\n>b\nAC\n", mtime=0)
STATED = {"bytes": str(len(RIGHT)), "checksum": f"sha256:{hashlib.sha256(RIGHT).hexdigest()}"}


def put(folder: Path, content: bytes, **fields: str) -> tuple[Path, Path]:
    """The table, and a raw file put into its place by hand."""
    table = write_table(folder / "resources/t.tsv", {"name": "s", "file": "s.gz", **fields})
    raw = folder / "raw" / "s.gz"
    raw.parent.mkdir(exist_ok=True)
    raw.write_bytes(content)
    return table, raw


@pytest.mark.parametrize(
    ("content", "fields", "words"),
    [
        (HALF, {"bytes": STATED["bytes"]}, [str(len(HALF)), STATED["bytes"]]),
        (OTHER, {"checksum": STATED["checksum"]}, [STATED["checksum"]]),
        (b"", {}, ["empty"]),
        (b">a\nMK\n", {}, ["gzip"]),
        (gzip.compress(b"<!DOCTYPE html>\n<p>404</p>"), {}, ["web page"]),
        (RIGHT[:-9], {"checksum": STATED["checksum"]}, ["truncated|expected"]),
    ],
    ids=["length", "checksum", "empty", "no gzip", "web page", "truncated"],
)
def test_wrong_manually_placed_file_is_refused_and_kept(
    tmp_path: Path, content: bytes, fields: dict[str, str], words: list[str]
) -> None:
    table, raw = put(tmp_path, content, **fields)
    with pytest.raises(SourceError) as raised:
        clean_source(table, "s", raw, 1, 1.0, tmp_path / "out")
    message = str(raised.value)
    assert "\n" not in message
    for word in [str(raw), str(table), "move it away", *words]:
        assert any(part in message for part in word.split("|"))
    assert raw.read_bytes() == content
    assert not (tmp_path / "out").exists()
    assert not record_of(raw).exists()


def test_right_file_is_verified_once_until_it_or_the_table_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    checksum_of = raw_files.checksum_of
    monkeypatch.setattr(
        raw_files, "checksum_of", lambda path, name: read.append(path) or checksum_of(path, name)
    )
    table, raw = put(tmp_path, RIGHT, **STATED)
    for out in ("one", "two"):
        clean_source(table, "s", raw, 1, 0.0, tmp_path / out)
    assert read == [raw]
    record = read_json(record_of(raw))
    assert (record["verified_by"], record["found"]) == ("sha256", STATED["checksum"])
    os.utime(raw, ns=(0, 0))
    verify_raw(table, "s.gz", raw)
    assert read == [raw, raw]
    table, _ = put(tmp_path, OTHER, **STATED)
    assert len(OTHER) == len(RIGHT)
    with pytest.raises(SourceError, match="expected sha256"):
        verify_raw(table, "s.gz", raw)
    table, _ = put(tmp_path, RIGHT, checksum="md5:" + "0" * 32)
    with pytest.raises(SourceError, match="expected md5:000"):
        verify_raw(table, "s.gz", raw)


def test_file_of_a_fetch_is_not_verified_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.page("/good", CONTENT)
    raw = fetch(tmp_path, server.url("/good"), **WITH_CHECKSUM)
    monkeypatch.setattr(raw_files, "compare", None)
    verify_raw(tmp_path / "resources/sources.tsv", "s.gz", raw)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_damaged_record_is_made_again(tmp_path: Path, text: str) -> None:
    table, raw = put(tmp_path, RIGHT, **STATED)
    record_of(raw).write_text(text)
    verify_raw(table, "s.gz", raw)
    assert read_json(record_of(raw))["verified_by"] == "sha256"


@pytest.mark.parametrize(
    ("fields", "chunked", "by", "message"),
    [
        (WITH_CHECKSUM, False, "sha256", "verified (sha256)"),
        ({"bytes": LENGTH}, True, "length", "verified (length only)"),
        ({}, False, raw_files.ANNOUNCED, "verified (length announced by the server only)"),
        ({}, True, None, "not verified: no length or checksum known"),
    ],
)
def test_download_records_how_it_was_verified(
    tmp_path: Path,
    server: Server,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, str],
    chunked: bool,
    by: str | None,
    message: str,
) -> None:
    server.page("/good", CONTENT, chunked=chunked)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        raw = fetch(tmp_path, server.url("/good"), **fields)
    (line,) = [line for line in caplog.messages if "verified" in line]
    assert line.endswith(f", {message}")
    assert read_json(record_of(raw))["verified_by"] == by


def test_half_a_file_of_unknown_length_is_not_called_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = tmp_path / "half"
    half.write_bytes(CONTENT[:1000])
    with caplog.at_level(logging.INFO, "plm_scaling"):
        raw = fetch(tmp_path, f"file:{half}")
    assert "not verified: no length or checksum known" in caplog.messages[-1]
    assert read_json(record_of(raw))["verified_by"] is None
