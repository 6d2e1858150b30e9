"""Killed, out of room or forbidden to write: no half checkpoint is ever read, no old one lost."""

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpointing import IDENTITY, assert_filled, filled
from forks import exit_code, fork

from plm_scaling.errors import TrainError
from plm_scaling.train.checkpoint import load_checkpoint, save_checkpoint
from plm_scaling.train.process import cpu_process

KILLED = 9  # exit code of a process that ends itself where it would have been killed
NO_SMALL_DISK = 77


def save(folder, step):
    save_checkpoint(folder, step, IDENTITY, {"step": step}, filled(step))


def newest(folder):
    """Step of the newest checkpoint, read by a process of its own kind; it must be whole."""
    with cpu_process(1, 1):
        found = load_checkpoint(folder, IDENTITY, lambda: filled(0))
    if found is None:
        return 0
    step, position, state = found
    assert position == {"step": step}
    assert_filled(state, step)
    return step


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """With checkpoints of steps 1 and 2."""
    with cpu_process(1, 1):
        save(tmp_path, 1)
        save(tmp_path, 2)
    return tmp_path


def test_killed_at_twenty_random_moments_no_checkpoint_is_half(tmp_path):
    rng = random.Random(5)
    folder, last = tmp_path / "checkpoints", 0

    def saves(first, pipe):
        with cpu_process(1, 1):
            for step in range(first, first + 1000):
                save(folder, step)
                os.write(pipe, b"%d\n" % step)

    for _ in range(20):
        reading, writing = os.pipe()
        process = fork(lambda: saves(last + 1, writing))  # noqa: B023  runs before the next turn
        os.close(writing)
        with os.fdopen(reading) as said:
            said.readline()  # it has begun, so that all kills hit a save or the time between two
            time.sleep(rng.uniform(0.0, 0.15))
            os.kill(process, signal.SIGKILL)
            saved = [last, *map(int, said.read().split())]
        assert exit_code(process) == -signal.SIGKILL
        last, before = newest(folder), last
        assert last >= max(saved)
        assert last > before
        assert not [name for name in names(folder) if "damaged" in name]


def test_killed_before_any_of_its_changes_to_the_disk_no_checkpoint_is_half(folder):
    """Exhaustive where the random kills are not: the k-th call that opens, renames or removes."""
    calls = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}

    def save_until(folder, k):
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event in calls and "step-" in str(arguments[0]):
                count += 1
                if count == k:
                    os._exit(KILLED)

        with cpu_process(1, 1):
            sys.addaudithook(hook)
            save(folder, 3)

    seen = set()
    for k in range(1, 100):
        copy = folder.with_name(f"{folder.name}-{k}")
        shutil.copytree(folder, copy)
        code = exit_code(fork(lambda: save_until(copy, k)))  # noqa: B023
        seen.add(newest(copy))
        assert not [name for name in names(copy) if "damaged" in name]
        with cpu_process(1, 1):  # and what it left is no hindrance
            save(copy, 4)
        assert names(copy)[1:] == ["step-000000004"]
        if code == 0:
            break
        assert code == KILLED
    assert k > 15
    assert seen == {2, 3}


def small_disk(at):
    """Mount a disk of 1 MB of which this process alone knows."""
    user, group = os.geteuid(), os.getegid()
    namespaces = 0x10000000 | 0x00020000  # of users and mounts; os.unshare needs Python 3.12
    if ctypes.CDLL(None).unshare(namespaces):
        sys.exit(NO_SMALL_DISK)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", at]).returncode:
        sys.exit(NO_SMALL_DISK)


def test_full_disk_is_named_and_leaves_the_old_checkpoints(tmp_path):
    disk = tmp_path / "disk"
    folder = disk / "checkpoints"

    def job():
        small_disk(disk)
        with cpu_process(1, 1):
            for step in (1, 2):
                save_checkpoint(folder, step, IDENTITY, {"step": step}, filled(step, 0.3))
            for megabytes in (0.3, 0.45, 1.5):
                with pytest.raises(TrainError) as error:
                    save_checkpoint(folder, 3, IDENTITY, {}, filled(3, megabytes))
                said = str(error.value)
                assert f"{folder}: the checkpoint of step 3 cannot be written: No space" in said
                assert f"it takes {megabytes:.1f} MB, 0." in said
                assert names(folder) == ["step-000000001", "step-000000002"]
        assert load_checkpoint_of(folder) == 2
        with cpu_process(1, 1):
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            with pytest.raises(TrainError, match="Read-only file system; see to it"):
                save(folder, 3)
            subprocess.run(["mount", "-o", "remount,rw,size=10m", disk], check=True)
            save_checkpoint(folder, 3, IDENTITY, {"step": 3}, filled(3, 0.3))
        assert load_checkpoint_of(folder) == 3

    def load_checkpoint_of(folder):
        with cpu_process(1, 1):
            step, _, state = load_checkpoint(folder, IDENTITY, lambda: filled(0, 0.3))
        assert_filled(state, step)
        return step

    code = exit_code(fork(job))
    if code == NO_SMALL_DISK:
        pytest.skip("this system lets nobody mount a small disk")
    assert code == 0


@pytest.mark.parametrize("limit", [10, 500, 5000, 100_000])
def test_file_that_may_not_grow_leaves_the_old_checkpoints(folder, limit):
    """Each limit hits another of the checkpoint's files."""

    def job():
        with cpu_process(1, 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(TrainError, match=r"it takes 0\.2 MB, .* MB are free: make room"):
                save(folder, 3)

    assert exit_code(fork(job)) == 0
    assert names(folder) == ["step-000000001", "step-000000002"]
    assert newest(folder) == 2


def test_folder_that_cannot_be_made_is_named():
    folder = Path("/proc/run/checkpoints")  # where not even root may
    with cpu_process(1, 1), pytest.raises(TrainError, match=f"{folder}: .*No such file.*see to it"):
        save(folder, 1)
