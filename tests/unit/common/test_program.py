"""What programs and commands say and return."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plm_scaling.common.program import start_logging
from plm_scaling.common.progress import short_number, short_time

PROGRAM = """
import argparse
import os
import signal
from pathlib import Path
from plm_scaling.common.errors import SourceError
from plm_scaling.common.program import run

def work(kind: str) -> None:
    if kind == "ours":
        raise SourceError("a.fasta: empty; fetch it again")
    if kind == "other":
        raise ZeroDivisionError("oh")
    if kind == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)

parser = argparse.ArgumentParser()
parser.add_argument("--kind")
run(work, parser)
"""


def test_a_full_disk_prints_no_traceback_for_each_line_of_the_log(capsys):
    start_logging(Path("/dev/full"))
    logging.getLogger("plm_scaling").info("a line")
    assert capsys.readouterr().err == "a line\n"
    logging.getLogger("plm_scaling").handlers.clear()


HELP = """
import contextlib, io, runpy, sys

for program in sys.argv[1:]:
    sys.argv, said = [program, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code, program
    assert "--log" in said.getvalue(), program
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True
    )


def test_program_that_works_exits_with_0_and_says_nothing(tmp_path):
    done = run("--kind", "none", "--log", tmp_path / "log")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_program_error_is_one_line_and_the_traceback_is_in_the_log(tmp_path):
    done = run("--kind", "ours", "--log", tmp_path / "logs/log")
    assert done.returncode == 1
    assert done.stderr == "error: a.fasta: empty; fetch it again\n"
    assert "Traceback" in (tmp_path / "logs/log").read_text()


def test_program_unexpected_error_names_the_log(tmp_path):
    done = run("--kind", "other", "--log", tmp_path / "log")
    assert done.returncode == 1
    assert done.stderr == f"error: ZeroDivisionError: oh (traceback in {tmp_path / 'log'})\n"


def test_program_interrupted_says_nothing_and_dies_of_the_signal(tmp_path):
    done = run("--kind", "interrupt", "--log", tmp_path / "log")
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_every_program_in_scripts_explains_itself(root):
    programs = sorted((root / "scripts").glob("*.py"))
    assert programs
    assert all(len(program.read_text().splitlines()) <= 50 for program in programs)
    # One process; train_cell imports torch, and is run by other tests.
    programs = [program for program in programs if program.stem != "train_cell"]
    done = subprocess.run(
        [sys.executable, "-c", HELP, *programs], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (999, "999"), (1234567, "1.23M"), (2e11, "200G")]
)
def test_short_number_has_three_digits(value, text):
    assert short_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3725, "1:02:05"), (float("inf"), "?")]
)
def test_short_time_reads_as_a_clock(seconds, text):
    assert short_time(seconds) == text
