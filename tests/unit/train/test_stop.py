"""Signals and the end of a Slurm job ask a run to stop."""

import os
import signal
import time
from types import SimpleNamespace

from plm_scaling.train.stop import MARGIN_SECONDS, StopRequest, follow_launcher, stop_request


def test_without_a_limit_a_job_does_not_end():
    assert not StopRequest().job_ends(1e9, 1e9)


def test_stop_leaves_time_for_a_step_and_two_pauses(monkeypatch):
    request = StopRequest(seconds_left=100)
    later = time.monotonic() + 60
    clock = SimpleNamespace(monotonic=lambda: later)
    monkeypatch.setattr("plm_scaling.train.stop.time", clock)
    assert not request.job_ends(5, (35 - MARGIN_SECONDS) / 2 - 1)
    assert request.job_ends(5, (35 - MARGIN_SECONDS) / 2 + 1)


def test_a_killed_torchrun_asks_its_processes_to_stop(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    read, write = os.pipe()
    torchrun = os.fork()
    if torchrun == 0:
        if os.fork() == 0:
            follow_launcher()
            with stop_request() as request:
                os.write(write, b"begun ")
                end = time.monotonic() + 600
                while request.signal is None and time.monotonic() < end:
                    time.sleep(0.01)
                os.write(write, str(request.signal).encode())
            os._exit(0)
        time.sleep(600)
        os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"begun "
    os.kill(torchrun, signal.SIGKILL)
    os.waitpid(torchrun, 0)
    assert os.read(read, 100).decode() == str(signal.SIGTERM)
    os.close(read)
