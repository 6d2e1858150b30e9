"""Signals and the end of a Slurm job ask a run to stop."""

import time

from plm_scaling.train.stop import MARGIN_SECONDS, StopRequest


def test_without_a_limit_a_job_does_not_end():
    assert not StopRequest().job_ends(1e9, 1e9)


def test_stop_leaves_time_for_a_step_and_two_pauses(monkeypatch):
    request = StopRequest(seconds_left=100)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert not request.job_ends(5, (35 - MARGIN_SECONDS) / 2 - 1)
    assert request.job_ends(5, (35 - MARGIN_SECONDS) / 2 + 1)
