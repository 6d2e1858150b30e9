"""The first bytes decide at download whether the body is the file; if not, the mirror is asked."""

import gzip
import logging
import lzma
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
import pytest
from faulty_server import Server
from fetching import CONTENT, fetch, fetch_fails
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.sources.fetch.first_bytes import FIRST_BYTES, wrong_beginning

FASTA = b">a\nMKVAC\n" * 2000
XML_ERROR = b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>"
ZSTD = pa.compress(FASTA, "zstd", asbytes=True)
PZSTD = b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + ZSTD


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.fasta", FASTA),
        ("a.fasta", b"\xef\xbb\xbf\n; a comment\n" + FASTA),
        ("a.fasta", FASTA.decode().encode("utf-16")),
        ("a.fasta", gzip.compress(FASTA)),
        ("a", b"anything"),
        ("a.gz", gzip.compress(FASTA)),
        ("a.fasta.gz", gzip.compress(FASTA)),
        ("a.gz.gz", gzip.compress(gzip.compress(FASTA))),
        ("a.xz", lzma.compress(FASTA)),
        ("a.fasta.xz", lzma.compress(FASTA)),
        ("a.fasta.zst", ZSTD),
        ("a.fasta.zst", PZSTD),
        ("a.xml", b"<?xml version='1.0'?>\n<UniRef50><entry>"),
        ("a.xml.gz", gzip.compress(b"<!-- a note --><uniprot>")),
        ("a.gz", b"\x1f\x8b\x08 damaged"),
        ("a.zip", b"PK\x03\x04"),
        ("a.parquet", b"PAR1"),
        ("a.parquet", b"PAR1" + bytes(FIRST_BYTES)),
    ],
)
def test_right_beginnings_pass(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert wrong_beginning(tmp_path / "x", name) is None


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.gz", b"", "no data"),
        ("a", b"", "no data"),
        ("a", b"<!-- hello --><!DOCTYPE  HTML>", "a web page"),
        ("a.fasta", b"\r\n<Html>", "a web page"),
        ("a.xml", b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC>", "a web page"),
        ("a.gz", gzip.compress(b"<html>"), "a web page"),
        ("a.fasta", XML_ERROR, "an XML error message"),
        ("a.xml", b"<Error><Code>NoSuchKey</Code>", "an XML error message"),
        ("a", b'{"error": "Invalid credentials"}', "a JSON message"),
        ("a.gz", b'{\n  "message": "rate limit"}', "a JSON message"),
        ("a", b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        ("a.fasta", b"404 page not found", "data that are not FASTA"),
        ("a.fasta.gz", gzip.compress(b"404 page not found"), "data that are not FASTA"),
        ("a.xml", FASTA, "data that are not XML"),
        ("a.zip", FASTA, "data that are not zip"),
        ("a.parquet", FASTA, "data that are not Parquet"),
        ("a.fasta.gz", FASTA, "data that are not gzip"),
        ("a.tgz", ZSTD, "data that are not gzip"),
        ("a.fasta.zst", FASTA, "data that are not zstd"),
        ("a.fasta.xz", gzip.compress(FASTA), "data that are not xz"),
        ("a.gz", gzip.compress(gzip.compress(FASTA)), "gzip inside gzip"),
        ("a.fasta", gzip.compress(gzip.compress(FASTA)), "gzip inside gzip"),
        ("a.gz", gzip.compress(ZSTD), "zstd inside gzip"),
        ("a.xz", lzma.compress(lzma.compress(FASTA)), "xz inside xz"),
    ],
)
def test_wrong_beginnings_are_named(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / "x").write_bytes(content)
    found = wrong_beginning(tmp_path / "x", name)
    assert found is not None
    assert found.startswith(what)


@given(
    content=st.binary(max_size=200),
    how=st.lists(st.sampled_from([gzip.compress, lzma.compress, bytes]), max_size=3),
    name=st.sampled_from(["a", "a.gz", "a.xz", "a.zst", "a.fasta.gz", "a.gz.xz", ".gz", "a.xml"]),
    kept=st.integers(0, 300),
)
def test_any_bytes_are_judged(content: bytes, how: list, name: str, kept: int) -> None:
    """Also cut off and damaged ones."""
    for compress in how:
        content = compress(content)
    with NamedTemporaryFile() as file:
        file.write(content[:kept])
        file.flush()
        found = wrong_beginning(Path(file.name), name)
    assert found is None or len(found) < 250


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"content": b""}, "status 200 and no data"),
        ({"content": b"", "chunked": True}, "status 200 and no data"),
        ({"content": XML_ERROR}, "status 200 and an XML error message"),
        ({"content": FASTA}, "status 200 and data that are not gzip"),
        ({"content": FASTA * 9, "chunked": True}, "status 200 and data that are not gzip"),
        ({"content": gzip.compress(gzip.compress(FASTA))}, "status 200 and gzip inside gzip"),
        ({"content": FASTA, "headers": {"Content-Encoding": "br"}}, "the encoding 'br'"),
        ({"content": CONTENT, "status": 206, "headers": {"Content-Range": "x"}}, "status 206"),
        ({"content": CONTENT, "status": 203}, "status 203"),
        ({"redirect": "/here"}, "status 302"),
        ({"redirect": "file:///etc/passwd"}, "status 302"),
        ({"redirect": "/gone"}, "status 404"),
        ({"redirect": "http://[bad/"}, "no address"),
        ({"redirect": f"http://{'x' * 70}.example/"}, "no address"),
    ],
)
def test_answer_that_is_not_the_file_leads_to_the_mirror(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture, how: dict, words: str
) -> None:
    page = server.page("/here", **{"content": b"", **how})
    server.page("/mirror", CONTENT)
    urls = {"url": server.url("/here"), "mirror": server.url("/mirror")}
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    (line,) = [line for line in caplog.messages if urls["url"] in line]
    assert words in line
    assert "\n" not in line
    assert len(page.requests) == (5 if how.get("redirect") == "/here" else 1)


def test_wrong_body_is_refused_before_the_rest_is_received(tmp_path: Path, server: Server) -> None:
    page = server.page("/long", b"x" * 10_000_000, stalls_after=2 * FIRST_BYTES)
    fetch_fails(tmp_path, "not gzip", url=server.url("/long"))
    assert len(page.requests) == 1


def test_wrong_body_that_came_in_pieces_is_refused(tmp_path: Path, server: Server) -> None:
    page = server.page("/pieces", b"x" * 10_000, cuts=[1000, 2000, 3000])
    fetch_fails(tmp_path, "status 206", "not gzip", url=server.url("/pieces"))
    assert len(page.requests) == 3
    page = server.page("/chunks", b"x" * 1000, chunked=True, cuts=[1000])  # then 416
    fetch_fails(tmp_path, "not gzip", url=server.url("/chunks"))


def test_encoding_that_is_the_files_own_is_no_other(tmp_path: Path, server: Server) -> None:
    content = gzip.compress(FASTA)
    server.page("/named", content, headers={"Content-Encoding": "x-gzip"})
    assert fetch(tmp_path, server.url("/named")).read_bytes() == content


def test_file_of_this_machine_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"<html>")
    fetch_fails(tmp_path, "a web page", url=f"file:{tmp_path}/x")
