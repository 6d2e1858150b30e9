import errno
import hashlib
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from misbehaving import Server, serving
from source_tables import write_table

from plm_scaling.errors import SourceError
from plm_scaling.sources import download, partial
from plm_scaling.sources.fetch import fetch_source
from plm_scaling.sources.table import read_sources

CONTENT = random.Random(1).randbytes(200_000)
OTHER = random.Random(2).randbytes(150_000)
WITH_CHECKSUM = {"checksum": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"}
LENGTH = str(len(CONTENT))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def httpd() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(httpd: Server) -> Server:
    httpd.pages.clear()
    return httpd


def fetch(tmp_path: Path, url: str = "", **fields: str) -> Path:
    """Fetch the file s.gz of a table in tmp_path/resources with one row."""
    table = tmp_path / "resources" / "sources.tsv"
    write_table(table, {"name": "s", "file": "s.gz", "url": url, "role": "a role", **fields})
    out = tmp_path / "raw" / "s.gz"
    fetch_source(table, "s.gz", out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["s.gz"]
    return out


def fetch_fails(tmp_path: Path, *words: str, kept: int | None = None, **fields: str) -> None:
    """The error has all words; nothing is left but, with `kept`, that many bytes to go on with."""
    with pytest.raises(SourceError) as raised:
        fetch(tmp_path, **fields)
    for word in words:
        assert word in str(raised.value)
    raw = tmp_path / "raw"
    left = {path.name for path in raw.iterdir()} if raw.exists() else set()
    if kept is None:
        assert not left
    else:
        assert left == {".s.gz.part", ".s.gz.part.json"}
        assert (raw / ".s.gz.part").read_bytes() == CONTENT[:kept]


def test_fetch_file_is_relative_to_the_folder_above_the_table(tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "s.gz").write_bytes(CONTENT)
    out = fetch(tmp_path, "file:resources/s.gz", **WITH_CHECKSUM, bytes=LENGTH)
    assert out.read_bytes() == CONTENT


def test_fetch_good_server_is_asked_once(tmp_path: Path, server: Server) -> None:
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
def test_fetch_line_cut_anywhere_gives_the_same_file(
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


def test_fetch_goes_on_after_the_bytes_it_has(tmp_path: Path, server: Server) -> None:
    page = server.page("/cut", CONTENT, cuts=[50_000, 30_000])
    fetch(tmp_path, server.url("/cut"))
    asked = [request.get("Range") for request in page.requests]
    assert asked == [None, "bytes=50000-", "bytes=80000-"]
    assert [request.get("If-Range") for request in page.requests[1:]] == ['"one"'] * 2


def test_fetch_changed_file_starts_anew(tmp_path: Path, server: Server) -> None:
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


def test_fetch_shrunk_file_is_fetched_anew(tmp_path: Path, server: Server) -> None:
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


def test_fetch_range_that_begins_elsewhere_starts_anew(tmp_path: Path, server: Server) -> None:
    def behave(page, number):
        page.wrong_start = number < 3

    server.page("/wrong", CONTENT, cuts=[50_000], before=behave)
    assert fetch(tmp_path, server.url("/wrong")).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_fetch_passing_fault_is_tried_again(tmp_path: Path, server: Server, status: int) -> None:
    page = server.page("/busy", CONTENT, statuses=[status, status], cuts=[50_000])
    assert fetch(tmp_path, server.url("/busy")).read_bytes() == CONTENT
    assert len(page.requests) == 4


def test_fetch_lasting_fault_ends_with_url_status_and_bytes(tmp_path: Path, server: Server) -> None:
    url = server.url("/busy")
    page = server.page("/busy", CONTENT, cuts=[50_000], statuses=[0, *[500] * 50])
    fetch_fails(tmp_path, url, "500", "50000", kept=50_000, url=url)
    assert len(page.requests) == 1 + download.MAX_ATTEMPTS - 1


def test_fetch_progress_renews_the_patience(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROGRESS_BYTES", 5_000)
    server.page("/cut", CONTENT, cuts=[10_000] * 19)
    assert fetch(tmp_path, server.url("/cut")).read_bytes() == CONTENT
    server.page("/cut", CONTENT, cuts=[100] * 40)
    (tmp_path / "raw" / "s.gz").unlink()
    fetch_fails(tmp_path, "800 of", kept=800, url=server.url("/cut"))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_fetch_refusal_is_not_asked_again(tmp_path: Path, server: Server, status: int) -> None:
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
def test_fetch_bad_primary_falls_to_mirror(tmp_path: Path, server: Server, primary: str) -> None:
    server.page("/good", CONTENT)
    server.page("/page", b"<html>")
    server.page("/wrong", OTHER)
    server.page("/short", CONTENT[:500])
    mirror = server.url("/good")
    out = fetch(tmp_path, server.url(primary), mirror=mirror, bytes=LENGTH, **WITH_CHECKSUM)
    assert out.read_bytes() == CONTENT


def test_fetch_mirror_goes_on_with_the_bytes_of_the_primary(tmp_path: Path, server: Server) -> None:
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


def test_fetch_mixture_that_fails_the_checksum_starts_anew(tmp_path: Path, server: Server) -> None:
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
def test_fetch_stall_times_out_and_goes_on(
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


def test_fetch_nothing_listens(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "http://127.0.0.1:9/x", "refused", "0 bytes", url="http://127.0.0.1:9/x")


def test_fetch_wrong_size_is_refused_before_the_download(tmp_path: Path, server: Server) -> None:
    server.page("/good", CONTENT)
    url = server.url("/good")
    fetch_fails(tmp_path, LENGTH, "199999", "0 bytes received", url=url, bytes="199999")


@pytest.mark.parametrize("announced", [300_000, 150_000])
def test_fetch_server_that_lies_about_the_length(
    tmp_path: Path, server: Server, announced: int
) -> None:
    url = server.url("/liar")
    server.page("/liar", CONTENT, announced=announced)
    with pytest.raises(SourceError, match=r"/liar"):
        fetch(tmp_path, url, **WITH_CHECKSUM)
    assert not (tmp_path / "raw" / "s.gz").exists()


def test_fetch_wrong_checksum_names_both(tmp_path: Path, server: Server) -> None:
    server.page("/good", CONTENT)
    wrong = f"sha256:{'0' * 64}"
    url = server.url("/good")
    fetch_fails(tmp_path, wrong, WITH_CHECKSUM["checksum"], LENGTH, url=url, checksum=wrong)


def test_fetch_checksum_from_the_providers_list(tmp_path: Path, server: Server) -> None:
    server.page("/good.gz", CONTENT)
    metalink = """<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="http://www.metalinker.org/" version="3.0"><files>
 <file name="other.gz"><size>1</size></file>
 <file name="good.gz"><size>{size}</size><verification><hash type="md5">{md5}</hash>
 </verification></file></files></metalink>"""
    digest = hashlib.md5(CONTENT).hexdigest()
    urls = {"url": server.url("/good.gz"), "checksum_list": server.url("/RELEASE.metalink")}
    server.page("/RELEASE.metalink", metalink.format(size=LENGTH, md5=digest).encode())
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    (tmp_path / "raw" / "s.gz").unlink()
    server.page("/RELEASE.metalink", metalink.format(size=LENGTH, md5="0" * 32).encode())
    fetch_fails(tmp_path, f"md5:{digest}", "md5:" + "0" * 32, **urls)
    server.page("/RELEASE.metalink", metalink.format(size=7, md5=digest).encode())
    fetch_fails(tmp_path, "expected 7", **urls)
    del server.pages["/RELEASE.metalink"]
    fetch_fails(tmp_path, "RELEASE.metalink", "404", "checksum_list", **urls)


def test_fetch_without_any_checksum_says_the_one_found(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.page("/good", CONTENT)
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        fetch(tmp_path, server.url("/good"))
    assert WITH_CHECKSUM["checksum"] in caplog.text


def test_fetch_reports_share_and_rate(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    clock = iter(range(0, 10_000_000, 6))
    monkeypatch.setattr("plm_scaling.progress.time.monotonic", lambda: next(clock))
    server.page("/good", CONTENT)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        fetch(tmp_path, server.url("/good"))
    assert re.search(r"\[fetch s.gz\] \d+ % of 200k B, [0-9.k]+ B/s, \d+:\d\d left", caplog.text)


def test_fetch_disk_too_small_names_need_and_room(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        partial.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 5, 4)
    )
    page = server.page("/good", CONTENT)
    mirror = server.page("/mirror", CONTENT)
    urls = {"url": server.url("/good"), "mirror": server.url("/mirror")}
    fetch_fails(tmp_path, LENGTH, "4 ", "raw", **urls, bytes=LENGTH)
    assert not page.requests
    with pytest.raises(SourceError, match=rf"needs {LENGTH} bytes .* has 4 "):
        fetch(tmp_path, **urls)  # the length is not in the table: the server says it
    assert len(page.requests) == 1
    assert not mirror.requests


def test_fetch_disk_full_keeps_what_was_received(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, file):
            self.file, self.room = file, 60_000

        def write(self, block):
            self.file.write(block[: self.room])
            self.room -= len(block)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            self.file.close()

    server.page("/good", CONTENT)
    urls = {"url": server.url("/good"), "mirror": server.url("/mirror")}
    with monkeypatch.context() as patch:
        really = partial.Partial._open
        patch.setattr(
            partial.Partial,
            "_open",
            lambda self, mode: Full(really(self, mode)) if mode == "ab" else really(self, mode),
        )
        fetch_fails(tmp_path, "No space left", "make room", kept=60_000, **urls)
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT


def test_fetch_real_full_device(tmp_path: Path, server: Server) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".s.gz.part").symlink_to("/dev/full")
    server.page("/good", CONTENT)
    with pytest.raises(SourceError, match="No space left on device; make room"):
        fetch(tmp_path, server.url("/good"))


def test_fetch_folder_that_cannot_be_made(tmp_path: Path, server: Server) -> None:
    (tmp_path / "raw").write_text("a file")
    page = server.page("/good", CONTENT)
    with pytest.raises(SourceError, match=r"raw cannot be written"):
        fetch(tmp_path, server.url("/good"))
    assert not page.requests


def test_fetch_killed_process_is_gone_on_with(tmp_path: Path, server: Server) -> None:
    url = server.url("/slow")
    page = server.page("/slow", CONTENT, stalls_after=120_000)
    table = tmp_path / "resources" / "sources.tsv"
    write_table(table, {"name": "s", "file": "s.gz", "url": url})
    out = tmp_path / "raw" / "s.gz"
    root = Path(__file__).parents[3]
    command = [sys.executable, root / "scripts/fetch_source.py"]
    command += ["--table", table, "--file", "s.gz", "--out", out]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    part = out.with_name(".s.gz.part")
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    received = part.stat().st_size
    assert 0 < received <= 120_000
    page.stalls_after = None
    page.released.set()
    fetch_source(table, "s.gz", out)
    assert out.read_bytes() == CONTENT
    assert page.requests[-1]["Range"] == f"bytes={received}-"
    assert [path.name for path in out.parent.iterdir()] == ["s.gz"]


def test_fetch_begun_at_the_mirror_goes_on_there(tmp_path: Path, server: Server) -> None:
    server.page("/first", CONTENT, statuses=[404])
    server.page("/mirror", CONTENT, cuts=[50_000], statuses=[0, *[500] * 7])
    urls = {"url": server.url("/first"), "mirror": server.url("/mirror")}
    with pytest.raises(SourceError):
        fetch(tmp_path, **urls)
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    assert len(server.pages["/first"].requests) == 1


@pytest.mark.parametrize("note", ["", "{", '{"url": 1, "more": 2}', "[]"])
def test_fetch_damaged_note_of_a_partial_file_starts_anew(
    tmp_path: Path, server: Server, note: str
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".s.gz.part").write_bytes(OTHER[:500])
    (tmp_path / "raw" / ".s.gz.part.json").write_text(note)
    server.page("/good", CONTENT)
    assert fetch(tmp_path, server.url("/good")).read_bytes() == CONTENT


def test_fetch_missing_file_is_named(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "resources/gone.gz", "does not exist", url="file:resources/gone.gz")


def test_fetch_empty_address_says_what_to_do(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "s.gz", "no address", "a role")


def test_fetch_failure_keeps_an_earlier_file(tmp_path: Path, server: Server) -> None:
    server.page("/good", CONTENT)
    out = fetch(tmp_path, server.url("/good"))
    with pytest.raises(SourceError):
        fetch(tmp_path, server.url("/gone"))
    assert out.read_bytes() == CONTENT


def test_shipped_table_demo_files_are_as_listed(tmp_path: Path) -> None:
    table = Path(__file__).parents[3] / "resources" / "sources.tsv"
    sources = read_sources(table)
    assert {"uniref50", "uniref90", "colabfold_c", "colabfold_m", "mgnify"} < set(sources)
    size = 0
    for name in ("uniref_demo", "metagenome_demo", "code_demo"):
        file = sources[name].file
        assert sources[name].checksum
        fetch_source(table, file, tmp_path / file)
        size += (tmp_path / file).stat().st_size
    assert size <= 4_400_000
