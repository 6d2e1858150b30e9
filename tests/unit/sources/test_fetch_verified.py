"""Downloads are verified, fit the disk, and survive a kill."""

import errno
import hashlib
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_server import Server
from fetching import CONTENT, LENGTH, OTHER, WITH_CHECKSUM, fetch, fetch_fails
from source_tables import write_table

from plm_scaling.common.errors import LockError, SourceError
from plm_scaling.sources.fetch import partial
from plm_scaling.sources.fetch.source import fetch_source
from plm_scaling.sources.fetch.verified import record_of
from plm_scaling.sources.local_files import files_of
from plm_scaling.sources.table import read_sources
from plm_scaling.sources.verify_files import verify_files


def test_fetch_wrong_size_is_refused_before_the_download(tmp_path: Path, server: Server) -> None:
    server.page("/good", CONTENT)
    url = server.url("/good")
    fetch_fails(tmp_path, LENGTH, "199999", "0 bytes received", url=url, bytes="199999")


@pytest.mark.parametrize("announced", [300_000, 150_000])
def test_fetch_from_a_server_with_a_wrong_length_is_an_error(
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


def test_fetch_without_any_checksum_logs_the_one_found(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.page("/good", CONTENT)
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        fetch(tmp_path, server.url("/good"))
    assert WITH_CHECKSUM["checksum"] in caplog.text


def test_fetch_reports_share_and_rate(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    monkeypatch.setattr("plm_scaling.common.progress.EVERY_SECONDS", 0.0)
    server.page("/good", CONTENT)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        fetch(tmp_path, server.url("/good"))
    assert re.search(
        r"\[fetch s.gz\] \d+ % of 200kB, [0-9.]+[kMGT]?B/s, \d+:\d\d left", caplog.text
    )


def test_fetch_disk_too_small_names_needed_and_free_bytes(
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
    class Full(io.FileIO):
        room = 60_000

        def write(self, block):
            super().write(block[: max(self.room, 0)])
            self.room -= len(block)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_full(path, mode="r", **options):
        return Full(path, mode) if mode == "ab" else really(path, mode, **options)

    server.page("/good", CONTENT)
    urls = {"url": server.url("/good"), "mirror": server.url("/mirror")}
    really = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        fetch_fails(tmp_path, "No space left", "make room", kept=60_000, **urls)
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT


def test_fetch_real_full_device(tmp_path: Path, server: Server) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".s.gz.part").symlink_to("/dev/full")
    server.page("/good", CONTENT)
    with pytest.raises(SourceError, match="No space left on device; make room"):
        fetch(tmp_path, server.url("/good"))


def test_fetch_into_a_folder_that_cannot_be_made_is_an_error(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "raw").write_text("a file")
    page = server.page("/good", CONTENT)
    with pytest.raises(LockError, match=r"raw cannot be written"):
        fetch(tmp_path, server.url("/good"))
    assert not page.requests


def test_fetch_resumes_after_a_killed_process(tmp_path: Path, server: Server) -> None:
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
    assert {path.name for path in out.parent.iterdir()} == {"s.gz", record_of(out).name}


def test_fetch_begun_at_the_mirror_resumes_there(tmp_path: Path, server: Server) -> None:
    server.page("/first", CONTENT, statuses=[404])
    server.page("/mirror", CONTENT, cuts=[50_000], statuses=[0, *[500] * 7])
    urls = {"url": server.url("/first"), "mirror": server.url("/mirror")}
    with pytest.raises(SourceError):
        fetch(tmp_path, **urls)
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    assert len(server.pages["/first"].requests) == 1


@pytest.mark.parametrize("note", ["", "{", '{"url": 1, "more": 2}', "[]"])
def test_fetch_with_a_damaged_note_of_the_partial_file_restarts(
    tmp_path: Path, server: Server, note: str
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".s.gz.part").write_bytes(OTHER[:500])
    (tmp_path / "raw" / ".s.gz.part.json").write_text(note)
    server.page("/good", CONTENT)
    assert fetch(tmp_path, server.url("/good")).read_bytes() == CONTENT


def test_fetch_missing_file_is_named(tmp_path: Path) -> None:
    fetch_fails(tmp_path, "resources/gone.gz", "does not exist", url="file:gone.gz")


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
        assert sources[name].checksum
        files = files_of(sources[name])
        verify_files(table, name, files, tmp_path / name)
        size += sum(file.stat().st_size for file in files)
    assert size <= 4_400_000
