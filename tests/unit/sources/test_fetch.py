"""Downloads from servers that cut, change, refuse, stall and redirect."""

import hashlib
import logging
import re
from pathlib import Path

import pytest
from faulty_server import Server
from fetching import CONTENT, LENGTH, OTHER, WITH_CHECKSUM, fetch, fetch_fails
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch import download


def test_fetch_file_is_relative_to_the_folder_above_the_table(tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "s.gz").write_bytes(CONTENT)
    out = fetch(tmp_path, "file:s.gz", **WITH_CHECKSUM, bytes=LENGTH)
    assert out.read_bytes() == CONTENT


def test_fetch_from_a_working_server_takes_one_request(tmp_path: Path, server: Server) -> None:
    page = server.page("/good", CONTENT)
    out = fetch(tmp_path, server.url("/good"), **WITH_CHECKSUM, bytes=LENGTH)
    assert out.read_bytes() == CONTENT
    assert len(page.requests) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, len(CONTENT)), max_size=7),
    etag=st.sampled_from(['"strong"', 'W/"weak"', None]),
    modified=st.sampled_from(["Wed, 03 May 2023 10:00:00 GMT", None]),
    ignores_range=st.booleans(),
    chunked=st.booleans(),
    checksum=st.booleans(),
)
def test_fetch_interrupted_anywhere_gives_the_same_file(
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
    cuts: list[int],
    etag: str | None,
    modified: str | None,
    ignores_range: bool,
    chunked: bool,
    checksum: bool,
) -> None:
    page = server.page(
        "/cut",
        CONTENT,
        cuts=cuts,
        etag=etag,
        modified=modified,
        ignores_range=ignores_range,
        chunked=chunked,
    )
    fields = WITH_CHECKSUM if checksum else {}
    out = fetch(tmp_path_factory.mktemp("cut"), server.url("/cut"), **fields)
    assert out.read_bytes() == CONTENT
    for request in page.requests:
        assert request.get("If-Range") in (None, etag, modified)
        assert not request.get("If-Range", "").startswith("W/")


def test_fetch_resumes_after_the_bytes_it_has(tmp_path: Path, server: Server) -> None:
    page = server.page("/cut", CONTENT, cuts=[50_000, 30_000])
    fetch(tmp_path, server.url("/cut"))
    asked = [request.get("Range") for request in page.requests]
    assert asked == [None, "bytes=50000-", "bytes=80000-"]
    assert [request.get("If-Range") for request in page.requests[1:]] == ['"one"'] * 2


def test_fetch_of_a_changed_file_restarts(tmp_path: Path, server: Server) -> None:
    def change(page, number):
        if number == 2:
            page.content, page.etag = OTHER, '"two"'

    page = server.page("/changing", CONTENT, cuts=[50_000], before=change)
    assert fetch(tmp_path, server.url("/changing")).read_bytes() == OTHER
    assert len(page.requests) == 2


@pytest.mark.parametrize("etag", ['"one"', None])
def test_fetch_changed_file_without_validators_is_noticed(
    tmp_path: Path, server: Server, etag: str | None
) -> None:
    """A server that ignores If-Range: its ETag, the length or the checksum tells."""

    def change(page, number):
        if number == 2:
            page.content = OTHER + CONTENT[len(OTHER) :]  # of the same length
            page.etag = etag and '"two"'
            page.modified = None

    digest = hashlib.sha256(OTHER + CONTENT[len(OTHER) :]).hexdigest()
    server.page("/changing", CONTENT, etag=etag, cuts=[50_000], before=change)
    out = fetch(tmp_path, server.url("/changing"), checksum=f"sha256:{digest}")
    assert hashlib.sha256(out.read_bytes()).hexdigest() == digest


def test_fetch_of_a_shrunk_file_restarts(tmp_path: Path, server: Server) -> None:
    def shrink(page, number):
        if number == 2:
            page.content = OTHER[:10_000]  # the range begins behind its end: status 416

    server.page("/shrunk", CONTENT, etag=None, cuts=[50_000], before=shrink)
    digest = hashlib.md5(OTHER[:10_000]).hexdigest()
    out = fetch(tmp_path, server.url("/shrunk"), checksum=f"md5:{digest}")
    assert out.read_bytes() == OTHER[:10_000]


def test_fetch_complete_but_unknown_length_is_done(tmp_path: Path, server: Server) -> None:
    """All bytes came, the end mark of the chunks did not: the server says so with 416."""
    page = server.page("/chunks", CONTENT, chunked=True, cuts=[len(CONTENT)])
    assert fetch(tmp_path, server.url("/chunks")).read_bytes() == CONTENT
    assert page.requests[1]["Range"] == f"bytes={len(CONTENT)}-"


def test_fetch_range_that_begins_elsewhere_restarts(tmp_path: Path, server: Server) -> None:
    def behave(page, number):
        page.wrong_start = number < 3

    server.page("/wrong", CONTENT, cuts=[50_000], before=behave)
    assert fetch(tmp_path, server.url("/wrong")).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_fetch_retries_after_a_transient_fault(tmp_path: Path, server: Server, status: int) -> None:
    page = server.page("/busy", CONTENT, statuses=[status, status], cuts=[50_000])
    assert fetch(tmp_path, server.url("/busy")).read_bytes() == CONTENT
    assert len(page.requests) == 4


def test_fetch_permanent_fault_ends_with_url_status_and_bytes(
    tmp_path: Path, server: Server
) -> None:
    url = server.url("/busy")
    page = server.page("/busy", CONTENT, cuts=[50_000], statuses=[0, *[500] * 50])
    fetch_fails(tmp_path, url, "500", "50000", kept=50_000, url=url)
    assert len(page.requests) == 1 + download.MAX_ATTEMPTS - 1


def test_fetch_progress_resets_the_retry_limit(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROGRESS_BYTES", 5_000)
    server.page("/cut", CONTENT, cuts=[10_000] * 19)
    assert fetch(tmp_path, server.url("/cut")).read_bytes() == CONTENT
    server.page("/cut", CONTENT, cuts=[100] * 40)
    (tmp_path / "raw" / "s.gz").unlink()
    fetch_fails(tmp_path, "800 of", kept=800, url=server.url("/cut"))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_fetch_does_not_retry_a_refusal(tmp_path: Path, server: Server, status: int) -> None:
    page = server.page("/no", CONTENT, statuses=[status] * 9)
    fetch_fails(tmp_path, server.url("/no"), str(status), "0 bytes", url=server.url("/no"))
    assert len(page.requests) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"content": b"<!DOCTYPE html><p>moved</p>"},
        {"content": b"\n <html>login"},
        {"content": b"anything", "content_type": "text/html; charset=utf-8"},
    ],
)
def test_fetch_web_page_is_refused(tmp_path: Path, server: Server, how: dict) -> None:
    url = server.url("/page")
    page = server.page("/page", **how)
    with pytest.raises(SourceError, match=r"/page answered with status 200 and a web page"):
        fetch(tmp_path, url)
    assert len(page.requests) == 1
    assert not (tmp_path / "raw" / "s.gz").exists()


def test_fetch_web_page_instead_of_the_rest_is_refused(tmp_path: Path, server: Server) -> None:
    def turn(page, number):
        if number == 2:
            page.content_type = "text/html"

    server.page("/page", CONTENT, cuts=[50_000], before=turn)
    url = server.url("/page")
    fetch_fails(tmp_path, "web page", "50000 bytes", kept=50_000, url=url)


@pytest.mark.parametrize("primary", ["/gone", "/page", "/wrong", "/short"])
def test_fetch_falls_back_to_the_mirror(tmp_path: Path, server: Server, primary: str) -> None:
    server.page("/good", CONTENT)
    server.page("/page", b"<html>")
    server.page("/wrong", OTHER)
    server.page("/short", CONTENT[:500])
    mirror = server.url("/good")
    out = fetch(tmp_path, server.url(primary), mirror=mirror, bytes=LENGTH, **WITH_CHECKSUM)
    assert out.read_bytes() == CONTENT


def test_fetch_from_the_mirror_resumes_after_the_bytes_of_the_primary(
    tmp_path: Path, server: Server
) -> None:
    server.page("/first", CONTENT, cuts=[70_000], statuses=[0, *[503] * 50])
    mirror = server.page("/mirror", CONTENT, etag='"other"')
    urls = {"url": server.url("/first"), "mirror": server.url("/mirror")}
    assert fetch(tmp_path, **urls, **WITH_CHECKSUM).read_bytes() == CONTENT
    assert [request.get("Range") for request in mirror.requests] == ["bytes=70000-"]


def test_fetch_without_checksum_does_not_mix_addresses(tmp_path: Path, server: Server) -> None:
    server.page("/first", OTHER, cuts=[70_000], statuses=[0, *[503] * 50])
    mirror = server.page("/mirror", CONTENT, etag='"other"')
    urls = {"url": server.url("/first"), "mirror": server.url("/mirror")}
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    assert [request.get("Range") for request in mirror.requests] == [None]


def test_fetch_mixture_that_fails_the_checksum_restarts(tmp_path: Path, server: Server) -> None:
    server.page(
        "/first", OTHER[:80_000] + CONTENT[80_000:], cuts=[70_000], statuses=[0, *[503] * 50]
    )
    mirror = server.page("/mirror", CONTENT)
    urls = {"url": server.url("/first"), "mirror": server.url("/mirror")}
    assert fetch(tmp_path, **urls, **WITH_CHECKSUM).read_bytes() == CONTENT
    assert [request.get("Range") for request in mirror.requests] == ["bytes=70000-", None]


def test_fetch_error_names_every_address(tmp_path: Path, server: Server) -> None:
    urls = {"url": server.url("/gone"), "mirror": server.url("/page")}
    server.page("/page", b"<html>")
    fields = {**urls, **WITH_CHECKSUM}
    with pytest.raises(SourceError) as raised:
        fetch(tmp_path, **fields)
    for word in (server.url("/gone"), "404", server.url("/page"), "web page", "bytes received"):
        assert word in str(raised.value)


def test_fetch_redirect_is_followed_with_range(tmp_path: Path, server: Server) -> None:
    server.page("/here", b"", redirect=server.url("/there"))
    there = server.page("/there", CONTENT, cuts=[50_000])
    assert fetch(tmp_path, server.url("/here")).read_bytes() == CONTENT
    assert [request.get("Range") for request in there.requests] == [None, "bytes=50000-"]


@pytest.mark.parametrize("stalls_after", [0, 70_000])
def test_fetch_stall_times_out_and_resumes(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, stalls_after: int
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)

    def behave(page, number):
        page.stalls_after = stalls_after if number == 1 else None

    server.page("/stall", CONTENT, before=behave)
    assert fetch(tmp_path, server.url("/stall")).read_bytes() == CONTENT


def test_fetch_trickle_is_a_stall(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(download, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(download, "SLOW_BYTES", 10 * len(CONTENT))
    monkeypatch.setattr(download, "PROGRESS_BYTES", 1)
    server.page("/slow", CONTENT)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        assert fetch(tmp_path, server.url("/slow")).read_bytes() == CONTENT
    assert re.search(r"/slow: only \d+ bytes in 0 s after \d+ bytes; trying again", caplog.text)


def test_fetch_without_a_listening_server_is_an_error(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "http://127.0.0.1:9/x", "refused", "0 bytes", url="http://127.0.0.1:9/x")
