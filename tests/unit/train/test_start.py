"""A run that makes no step ends in time, with what it was waiting for."""

import ctypes
import dataclasses
import faulthandler
import re
import threading
import time

import pytest
from corpora import write_corpus
from forks import exit_code, fork
from training import result_of, run_cell, small_cell, trained, whole

from plm_scaling.common.program import start_logging
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train import start
from plm_scaling.train.loop import Loop

HANGS = 600
HANGING = threading.Event()
LATER, AT_FIRST = faulthandler.dump_traceback_later, []


class Timer(threading.Timer):
    """Its time begins when something hangs, however long a machine takes to come to that."""

    def run(self):
        HANGING.wait()
        super().run()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def hang(*unused, **options):
    HANGING.set()
    time.sleep(HANGS)


def hang_in_a_library(*unused):
    """Python runs nothing meanwhile, in no thread."""
    (asked,) = AT_FIRST
    LATER(*asked[0], **asked[1])
    ctypes.PyDLL(None).sleep(HANGS)


@pytest.fixture(autouse=True)
def time_of_what_hangs(monkeypatch):
    monkeypatch.setattr(threading, "Timer", Timer)


@pytest.fixture
def ended(root, manifest, tmp_path, monkeypatch):
    """Run a cell to its end; its exit code, what it said and the log."""
    monkeypatch.setattr(start, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(start, "LAST_SECONDS", 0.5)
    cell = small_cell(root)

    def run(seconds):
        layout = dataclasses.replace(whole(cell), start_minutes=seconds / 60)

        def in_fork():
            faulthandler.dump_traceback_later = lambda *words, **options: AT_FIRST.append(
                (words, options)
            )
            start_logging(tmp_path / "cell.log")
            run_cell(cell, manifest, tmp_path, layout=layout)

        begin = time.monotonic()
        code = exit_code(fork(in_fork))
        assert time.monotonic() - begin < HANGS
        return code, (tmp_path / "cell.log").read_text()

    return run


@pytest.mark.parametrize(
    ("what", "owner", "waits_for"),
    [
        ("open", TokenCorpus, r"the shards of .*manifest\.json to be read"),
        ("step", Loop, "the first step"),
    ],
)
def test_what_hangs_is_said_and_where(ended, monkeypatch, what, owner, waits_for):
    monkeypatch.setattr(owner, what, hang)
    code, log = ended(seconds=1)
    assert code == 1
    (said,) = [line for line in log.splitlines() if "error: " in line]
    assert re.search(rf"no step within .* minutes .*: \S+ waited \d+ s for {waits_for}; ", said)
    assert "time.sleep(HANGS)" in log  # where


def test_a_library_that_keeps_python_from_running_is_ended_too(ended, monkeypatch, capfd):
    monkeypatch.setattr(Loop, "step", hang_in_a_library)
    code, _ = ended(seconds=1)
    assert code == 1
    assert "hang_in_a_library" in capfd.readouterr().err


def test_after_the_first_step_nothing_is_watched(root, manifest, tmp_path, monkeypatch):
    cell = small_cell(root, steps=2, evaluations=1)
    step = Loop.step

    def slow_second(loop):
        if loop.position.step == 1:
            HANGING.set()
            time.sleep(1.5)
        step(loop)

    monkeypatch.setattr(Loop, "step", slow_second)
    monkeypatch.setattr(start, "GRACE_SECONDS", 1.0)
    layout = dataclasses.replace(whole(cell), start_minutes=1e-9)
    record, _ = trained(cell, manifest, tmp_path, layout=layout)
    assert record["status"] == "finished"
    assert result_of(cell, tmp_path).exists()
