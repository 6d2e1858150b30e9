"""Signals and the end of a Slurm job ask a run to stop."""

import math
import time

import pytest

from plm_scaling.train import stop
from plm_scaling.train.stop import MARGIN_SECONDS, StopRequest, seconds_left_of_job, seconds_of


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0:07", 7),
        ("59:01", 3541),
        ("2:00:00", 7200),
        ("3-01:00:01", 262801),
        ("UNLIMITED", math.inf),
        ("NOT_SET", math.inf),
        ("", math.inf),
    ],
)
def test_time_that_slurm_says_is_left(said, seconds):
    assert seconds_of(said) == seconds


def test_outside_slurm_a_job_has_no_end(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert seconds_left_of_job() == math.inf
    assert not StopRequest().job_ends(1e9, 1e9)


def test_slurm_is_asked_about_this_job_until_it_answers(monkeypatch, tmp_path):
    squeue, asked = tmp_path / "squeue", tmp_path / "asked"
    squeue.write_text(
        f"#!/bin/sh\n[ -e {asked} ] || {{ > {asked}; exit 1; }}\n"
        '[ "$*" = "--noheader --jobs 77 --format %L" ] && echo 1:30\n'
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setattr(stop, "SECONDS_BETWEEN_QUESTIONS", 0.0)
    assert seconds_left_of_job() == 90
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert seconds_left_of_job() == math.inf


def test_room_is_left_for_a_step_and_two_pauses(monkeypatch):
    request = StopRequest(seconds_left=100)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert not request.job_ends(5, (35 - MARGIN_SECONDS) / 2 - 1)
    assert request.job_ends(5, (35 - MARGIN_SECONDS) / 2 + 1)
