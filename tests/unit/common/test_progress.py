"""Progress of long work: one line on a terminal, a line every half minute elsewhere."""

import io
import logging
import sys

import pytest

from plm_scaling.common import progress
from plm_scaling.common.program import start_logging
from plm_scaling.common.progress import Progress, end_line

logger = logging.getLogger("plm_scaling")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds, moved by hand."""
    now = [100.0]
    monkeypatch.setattr("plm_scaling.common.progress.time.monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def handlers():
    yield
    logger.handlers.clear()


def work(clock, seconds=100, total=100):
    """A unit a second."""
    done = Progress("score", total, "tokens")
    for _ in range(seconds):
        clock[0] += 1
        done.add(1)
    return done


def test_a_line_every_half_minute_where_there_is_no_terminal(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    start_logging(None)
    work(clock)
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "[score] 30 % of 100 tokens, 1 tokens/s, 1:10 left"
    assert [line.split(" %")[0] for line in lines] == [f"[score] {n}" for n in (30, 60, 90, 100)]


def test_one_line_on_a_terminal(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    start_logging(None)
    work(clock, seconds=3)
    logger.info("a message that is longer than the line")
    work(clock, seconds=2, total=2)
    print("error: last", file=sys.stderr)
    assert sys.stderr.getvalue().split("\n") == [
        progress.ERASE.join(
            [
                *(f"[score] {n} % of 100 tokens"[:19] for n in (1, 2, 3)),
                "a message that is longer than the line",
            ]
        ),
        progress.ERASE.join(["[score] 50 % of 2 tokens"[:19], "[score] 100 % of 2 tokens"[:19]]),
        "error: last",
        "",
    ]


def test_a_line_of_progress_is_ended_before_other_text(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    start_logging(None)
    work(clock, seconds=2, total=0)
    end_line()
    end_line()  # once
    assert sys.stderr.getvalue().endswith("tokens/s\n")
    assert sys.stderr.getvalue().count("\n") == 1


def test_a_job_with_a_log_writes_lines_on_a_terminal_too(clock, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Terminal())
    start_logging(tmp_path / "log")
    work(clock, seconds=40)
    assert sys.stderr.getvalue() == "[score] 30 % of 100 tokens, 1 tokens/s, 1:10 left\n"
    for handler in logger.handlers:
        handler.close()
    assert "30 % of 100 tokens" in (tmp_path / "log").read_text()


def test_work_done_at_once_says_nothing(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    start_logging(None)
    Progress("score", 10, "tokens").add(10)
    assert sys.stderr.getvalue() == ""
