"""How long a download goes on: Retry-After is heeded up to a limit, only net progress counts."""

import hashlib
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path

import pytest
from faulty_server import Server
from fetching import CONTENT, fetch, fetch_fails

from plm_scaling.sources.fetch import download
from plm_scaling.sources.fetch.answers import asked_wait

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between attempts."""
    slept: list[float] = []
    monkeypatch.setattr(download, "sleep", slept.append)
    return slept


@pytest.mark.parametrize(
    ("asked", "date", "seconds"),
    [
        ("120", NOON, 120.0),
        ("0", NOON, 0.0),
        (format_datetime(NOON + timedelta(minutes=5), usegmt=True), NOON, 300.0),
        (format_datetime(NOON - timedelta(minutes=5), usegmt=True), NOON, 0.0),
        ("", NOON, None),
        ("soon", NOON, None),
        ("-5", NOON, None),
        ("1e9", NOON, None),
        ("Sun, 29 Nov 2026 12:00:00 -0000", NOON, None),
        ("Sun, 29 Nov 99999999999999 12:00:00 GMT", NOON, None),
    ],
)
def test_seconds_of_retry_after(asked: str, date: datetime, seconds: float | None) -> None:
    headers = Message()
    headers["Retry-After"] = asked
    headers["Date"] = format_datetime(date, usegmt=True)
    assert asked_wait(headers) == seconds


def test_date_of_retry_after_without_a_date_of_the_answer() -> None:
    headers = Message()
    headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert asked_wait(headers) == pytest.approx(3600, abs=60)
    assert asked_wait(Message()) is None


@pytest.mark.parametrize("status", [429, 503])
def test_waiting_as_asked_costs_no_attempt(
    tmp_path: Path, server: Server, waits: list[float], status: int
) -> None:
    times = 3 * download.MAX_ATTEMPTS
    page = server.page("/busy", CONTENT, statuses=[status] * times, headers={"Retry-After": "100"})
    assert fetch(tmp_path, server.url("/busy")).read_bytes() == CONTENT
    assert waits == [100.0] * times
    assert len(page.requests) == times + 1


def test_list_of_checksums_is_waited_for_too(
    tmp_path: Path, server: Server, waits: list[float]
) -> None:
    server.page("/good", CONTENT)
    digest = hashlib.md5(CONTENT).hexdigest()
    busy = {"statuses": [429], "headers": {"Retry-After": "7"}}
    server.page("/list", f"{digest}  good".encode(), cuts=[20], **busy)
    urls = {"url": server.url("/good"), "checksum_list": server.url("/list")}
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    assert waits[0] == 7.0


def test_waiting_as_asked_has_a_limit_that_is_said(
    tmp_path: Path, server: Server, waits: list[float]
) -> None:
    page = server.page("/busy", CONTENT, statuses=[503] * 99, headers={"Retry-After": "1000"})
    fetch_fails(tmp_path, "status 503", "1000 s", "3600 s", url=server.url("/busy"))
    assert waits == [1000.0] * 3
    page = server.page("/day", CONTENT, statuses=[429] * 99, headers={"Retry-After": "86400"})
    server.page("/mirror", CONTENT)
    urls = {"url": server.url("/day"), "mirror": server.url("/mirror")}
    assert fetch(tmp_path, **urls).read_bytes() == CONTENT
    assert len(waits) == 3
    assert len(page.requests) == 1


def test_server_that_asks_for_no_wait_is_not_hammered(
    tmp_path: Path, server: Server, waits: list[float]
) -> None:
    server.page("/busy", CONTENT, statuses=[503] * 999, headers={"Retry-After": "0"})
    fetch_fails(tmp_path, "status 503", url=server.url("/busy"))
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert len(waits) < 70


@pytest.mark.parametrize("etag", ['"one"', None])
def test_server_without_ranges_that_cuts_at_varying_places_ends(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, etag: str | None
) -> None:
    """Each attempt brings more than enough, but nothing beyond the furthest byte."""
    monkeypatch.setattr(download, "PROGRESS_BYTES", 20_000)
    places = [60_000, 150_000, 40_000, 140_000, 90_000, 149_000, 30_000, 120_000, 151_000, 50_000]
    page = server.page("/cut", CONTENT, cuts=places * 20, ignores_range=True, etag=etag)
    fetch_fails(tmp_path, "of 200000 bytes", "8 attempts", kept=50_000, url=server.url("/cut"))
    assert len(page.requests) == 2 + download.MAX_ATTEMPTS


def test_small_gains_add_up(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt brings less than would reset the count alone, and all together the file."""
    monkeypatch.setattr(download, "PROGRESS_BYTES", 20_000)
    page = server.page("/slow", CONTENT, cuts=[8_000] * 24)
    out = fetch(tmp_path, url=server.url("/slow"))
    assert out.read_bytes() == CONTENT
    assert len(page.requests) > 2 * download.MAX_ATTEMPTS


def test_file_that_changes_with_every_request_ends(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROGRESS_BYTES", 20_000)

    def change(page, number):
        page.etag = f'"{number}"'

    page = server.page("/new", CONTENT, cuts=[100_000] * 99, before=change)
    fetch_fails(tmp_path, "8 attempts", kept=100_000, url=server.url("/new"))
    assert len(page.requests) == 1 + download.MAX_ATTEMPTS


def test_range_in_which_nothing_comes_ends(tmp_path: Path, server: Server) -> None:
    page = server.page("/empty", CONTENT, cuts=[50_000, *[0] * 99])
    fetch_fails(tmp_path, "after 50000 of", kept=50_000, url=server.url("/empty"))
    assert len(page.requests) == download.MAX_ATTEMPTS
