"""How a start has ended, by what it left: its logs, its run, and the state of its job."""

import os

import pytest

from plm_scaling.slurm.endings import FREE_STARTS, Ending, History, ending
from plm_scaling.slurm.hosts import Hosts

ERROR = "Traceback (most recent call last):\n  …\nplm_scaling.common.errors.{}\n"
STOPS = "2026-11-29 17:00:00 INFO cell a is saved and stops (its job ends)\n"


class Start:
    """A cell's folder and logs, before and after a start."""

    def __init__(self, folder):
        self.folder = folder
        self.log, self.slurm_log = folder / "a.log", folder / "7.log"
        self.history = History(folder / "run", [self.log])

    def save(self, step):
        (self.folder / f"run/checkpoints/step-{step:09d}").mkdir(parents=True)

    def make_steps(self, tokens):
        (self.folder / "run").mkdir(exist_ok=True)
        (self.folder / "run/progress.json").write_text(f'{{"tokens": {tokens}}}')

    def ended(self, state):
        return ending(state, self.slurm_log, self.history)


@pytest.fixture
def start(tmp_path):
    return Start(tmp_path)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("TIMEOUT", "time limit"), ("PREEMPTED", "preempted"), ("NODE_FAIL", "the node failed")],
)
def test_an_interrupted_start_that_saved_resumes(start, state, reason):
    start.save(10)
    start.history.begin()
    start.save(20)
    end = start.ended(state)
    assert (end.then, end.reason) == ("resume", reason)


def test_a_cell_that_stops_before_its_limit_resumes_if_it_came_further(start):
    start.history.begin()
    start.log.write_text(STOPS)
    assert start.ended("FAILED").then != "resume"
    start.save(10)
    assert start.ended("FAILED") == Ending("resume", "its job ends")


def test_a_signal_is_a_preemption_unless_the_job_was_cancelled(start):
    start.history.begin()
    start.save(10)
    start.log.write_text(STOPS.replace("its job ends", "signal 15"))
    assert start.ended("FAILED") == Ending("resume", "signal 15")
    assert start.ended("CANCELLED").then == "attempt"


def test_a_cell_that_was_asked_to_stop_before_its_first_step_blames_no_host(start):
    start.history.begin()
    start.log.write_text(
        "2026-11-29 17:00:00 INFO cell a stops before its first step (signal 15)\n"
    )
    assert start.ended("FAILED") == Ending("attempt", "signal 15")


def test_steps_that_are_not_saved_before_each_limit_use_up_attempts(start):
    """They would be made and lost for ever."""
    start.save(10)
    start.history.begin()
    start.make_steps(4096)
    assert start.ended("TIMEOUT").then == "attempt"


def test_the_host_is_blamed_only_for_what_dies_before_a_step(start):
    start.history.begin()
    start.log.write_text(ERROR.format("ProcessError: process 3 failed: RuntimeError: CUDA error"))
    assert start.ended("FAILED").then == "elsewhere"
    assert start.ended("CANCELLED").then == "attempt"
    start.history.died_on = ["n1"] * FREE_STARTS
    assert start.ended("FAILED").then == "attempt"
    start.history.died_on = []
    for said in (
        "slurmstepd: error: Job 7 exceeded memory limit\n",
        "Will exit after finishing currently running jobs (scheduler).\n",
    ):
        start.slurm_log.write_text(said)
        assert start.ended("FAILED").then == "attempt"
    start.slurm_log.unlink()
    start.make_steps(4096)
    assert start.ended("FAILED").then == "attempt"


def test_errors_are_those_of_this_start_in_any_process(start):
    start.log.write_text(ERROR.format("LockError: another run works in runs/a"))
    start.history.begin()
    assert start.ended("FAILED").then == "elsewhere"
    start.log.with_name("a.log.3").write_text(ERROR.format("TokenError: part-0001: damaged"))
    end = start.ended("FAILED")
    assert (end.then, end.reason) == ("stop", "part-0001: damaged")
    start.log.write_text(ERROR.format("LockError: another run works in runs/a: job 5"))
    later = start.log.stat().st_mtime + 1
    os.utime(start.log, (later, later))
    assert start.ended("FAILED").then == "wait"


def test_a_job_that_does_not_train_uses_an_attempt(tmp_path):
    history = History(None, [])
    history.begin()
    assert ending("TIMEOUT", tmp_path / "7.log", history).then == "attempt"


def test_hosts_are_excluded_for_all_once_it_is_them_and_not_the_program():
    hosts = Hosts()
    hosts.died("n1", "cell a")
    hosts.died("n1", "cell b")
    hosts.died("n[2-3]", "cell c")
    hosts.died("n[2-3]", "cell d")
    assert hosts.excluded == set()
    hosts.good("n4")
    assert hosts.excluded == {"n1"}
    hosts.good("n1")
    assert hosts.excluded == set()
