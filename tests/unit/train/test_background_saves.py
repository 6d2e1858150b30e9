"""Checkpoints written while training goes on: one at a time, of the moment, whole or not at all."""

import os
import resource
import signal
import threading
import time
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from checkpointing import IDENTITY, filled, load_filled
from clean import main, report, run_checks
from forks import exit_code, fork, run_job

from plm_scaling.common.errors import TrainError
from plm_scaling.study.layout import Layout
from plm_scaling.train.checkpoint import store
from plm_scaling.train.checkpoint.background import Saves
from plm_scaling.train.distributed.process import training_process

CPU = torch.device("cpu")


class Blocked:
    """Writes that stay half done until they are let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()
        self.real = store.write_state

    def __call__(self, folder, state):
        (folder / "__0_0.distcp").write_bytes(b"half")
        self.begun.set()
        self.go.wait()
        return self.real(folder, state)


def training_goes_on_while_it_is_written(folder):
    saves = Saves(folder, IDENTITY, CPU)
    state, blocked = filled(1), Blocked()
    with mock.patch.object(store, "write_state", blocked):
        saves.save(1, {}, state)
        assert blocked.begun.wait(600)
        for name in "abcd":  # the next step
            state[name].data.fill_(2)
        second = threading.Thread(target=lambda: saves.save(2, {}, filled(2)))
        second.start()
        second.join(0.2)
        assert second.is_alive()  # it waits for the first
        assert [path.name for path in folder.iterdir()] == [".step-000000001.tmp"]
        blocked.go.set()
        second.join()
    saves.wait()
    assert saves.longest >= 0.2
    assert load_filled(folder) == (2, {})
    store.shutil.rmtree(folder / "step-000000002")
    assert load_filled(folder) == (1, {})


def killed_while_it_writes(folder):
    mark = folder / "training"
    checkpoints = folder / "checkpoints"

    def run():
        saves = Saves(checkpoints, IDENTITY, CPU)
        saves.save(1, {}, filled(1))
        saves.wait()
        blocked = Blocked()
        with mock.patch.object(store, "write_state", blocked):
            saves.save(2, {}, filled(2))
            assert blocked.begun.wait(600)
            mark.touch()
            time.sleep(600)

    process = fork(run)
    while not mark.exists():
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    assert exit_code(process) == -signal.SIGKILL
    assert (checkpoints / ".step-000000002.tmp/__0_0.distcp").exists()
    assert load_filled(checkpoints) == (1, {})
    saves = Saves(checkpoints, IDENTITY, CPU)
    saves.save(2, {}, filled(2))
    saves.wait()
    assert load_filled(checkpoints) == (2, {})
    assert not list(checkpoints.glob(".*"))


def processes_save_beside_other_calls_and_fail_together(folder):
    def job():
        with training_process(Layout("cpu", 1, 1, 2, 4, "none"), 1, 1) as process:
            rank = process.rendezvous.rank
            saves = Saves(folder, IDENTITY, CPU)
            for step in (1, 2, 3):
                saves.save(step, {}, filled(step, replica=rank))
                total = sum(process.total(1.0)[0] for _ in range(50))  # as training steps do
                assert total == 100
            saves.wait()
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            if rank == 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
            assert not saves.failed()
            saves.save(4, {}, filled(4, replica=rank))
            while not saves.failed():
                time.sleep(0.01)
            with pytest.raises(TrainError, match="step 4 cannot be written: File too large"):
                saves.save(5, {}, filled(5, replica=rank))
            saves.wait()  # there is nothing more to say
            dist.barrier()
            saves.close()

    run_job(2, job, folder.parent / "job")
    assert load_filled(folder) == (3, {})


CHECKS = (
    training_goes_on_while_it_is_written,
    killed_while_it_writes,
    processes_save_beside_other_calls_and_fail_together,
)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return run_checks(__file__, tmp_path_factory.mktemp("saves"), *CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_saves(checked, check):
    report(checked, check)


if __name__ == "__main__":
    main(globals())
