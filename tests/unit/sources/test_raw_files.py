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
from plm_scaling.sources.fetch import raw_files, verified
from plm_scaling.sources.fetch.raw_files import verify_raw
from plm_scaling.sources.fetch.verified import record_of

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


WRONG = pytest.mark.parametrize(
    ("content", "fields", "word"),
    [
        (HALF, {"bytes": STATED["bytes"]}, f"has {len(HALF)} bytes, expected {len(RIGHT)}"),
        (OTHER, {"checksum": STATED["checksum"]}, STATED["checksum"]),
        (b"", {}, "no data"),
        (b">a\nMK\n", {}, "not gzip"),
        (gzip.compress(b"<!DOCTYPE html>\n<p>404</p>"), {}, "web page"),
        (gzip.compress(RIGHT), {}, "gzip inside gzip"),
        (RIGHT[:-9], {"checksum": STATED["checksum"]}, "expected"),
    ],
    ids=["length", "checksum", "empty", "no gzip", "web page", "gzip twice", "truncated"],
)


@WRONG
def test_wrong_manually_placed_file_without_address_is_refused_and_kept(
    tmp_path: Path, content: bytes, fields: dict[str, str], word: str
) -> None:
    table, raw = put(tmp_path, content, **fields)
    with pytest.raises(SourceError) as raised:
        clean_source(table, "s", raw, 1, 1.0, tmp_path / "out")
    message = str(raised.value)
    assert "\n" not in message
    for part in (str(raw), str(table), "right file in its place", word):
        assert part in message
    assert raw.read_bytes() == content
    assert not (tmp_path / "out").exists()
    assert not record_of(raw).exists()


@WRONG
def test_wrong_manually_placed_file_is_moved_aside_and_fetched(
    tmp_path: Path,
    server: Server,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    fields: dict[str, str],
    word: str,
) -> None:
    server.page("/right", RIGHT)
    table, raw = put(tmp_path, content, url=server.url("/right"), **fields)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        clean_source(table, "s", raw, 1, 0.0, tmp_path / "out")
    aside = raw.with_name(".s.gz.wrong")
    assert (raw.read_bytes(), aside.read_bytes()) == (RIGHT, content)
    (line,) = [line for line in caplog.messages if str(aside) in line]
    assert word in line
    assert "fetching" in line
    assert read_json(record_of(raw))["from"] == server.url("/right")


def test_second_wrong_file_overwrites_nothing(tmp_path: Path, server: Server) -> None:
    server.page("/right", RIGHT)
    for content in (HALF, OTHER, b""):
        table, raw = put(tmp_path, content, url=server.url("/right"), **STATED)
        verify_raw(table, "s.gz", raw)
    kept = [(tmp_path / "raw" / f".s.gz.wrong{n}").read_bytes() for n in ("", "-2", "-3")]
    assert kept == [HALF, OTHER, b""]
    assert raw.read_bytes() == RIGHT


def test_wrong_file_that_cannot_be_fetched_is_kept_aside(tmp_path: Path, server: Server) -> None:
    table, raw = put(tmp_path, OTHER, url=server.url("/gone"), **STATED)
    with pytest.raises(SourceError) as raised:
        verify_raw(table, "s.gz", raw)
    aside = raw.with_name(".s.gz.wrong")
    for part in (f"{raw} has", STATED["checksum"], str(aside), "404"):
        assert part in str(raised.value)
    assert not raw.exists()
    assert aside.read_bytes() == OTHER


def test_link_to_a_wrong_file_is_left(tmp_path: Path, server: Server) -> None:
    server.page("/right", RIGHT)
    mine = tmp_path / "mine.gz"
    table, raw = put(tmp_path, OTHER, url=server.url("/right"), **STATED)
    raw.rename(mine)
    raw.symlink_to(mine)
    with pytest.raises(SourceError, match="Put the right file in its place"):
        verify_raw(table, "s.gz", raw)
    assert raw.resolve() == mine


def test_file_replaced_while_it_was_verified_is_left(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sources of one file, whose jobs find it wrong at the same time."""
    page = server.page("/right", RIGHT)
    table, raw = put(tmp_path, OTHER, url=server.url("/right"), **STATED)

    def compare(*arguments: object) -> None:
        monkeypatch.undo()
        verify_raw(table, "s.gz", raw)  # the other job
        raise SourceError("wrong")

    monkeypatch.setattr(raw_files, "compare", compare)
    verify_raw(table, "s.gz", raw)
    assert raw.read_bytes() == RIGHT
    assert len(page.requests) == 1


def test_right_file_is_verified_once_until_it_or_the_table_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    checksum_of = verified.checksum_of
    monkeypatch.setattr(
        verified, "checksum_of", lambda path, name: read.append(path) or checksum_of(path, name)
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
        (WITH_CHECKSUM, False, "sha256", "verified (sha256 from the source table)"),
        ({"bytes": LENGTH}, True, None, "not verified: only its length was compared"),
        ({}, False, None, "not verified: only its length was compared"),
        ({}, True, None, "not verified: no length or checksum known"),
    ],
    ids=["checksum", "length", "announced length", "nothing"],
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
    record = read_json(record_of(raw))
    assert record["verified_by"] == by
    assert record["stated_by"] == (by and "the source table")
    assert record["length_compared"] == ("no length" not in message)


def test_half_a_file_of_unknown_length_is_not_called_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = tmp_path / "half"
    half.write_bytes(CONTENT[:1000])
    with caplog.at_level(logging.INFO, "plm_scaling"):
        raw = fetch(tmp_path, f"file:{half}")
    assert "not verified: no length or checksum known" in caplog.messages[-1]
    assert read_json(record_of(raw))["verified_by"] is None
