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
from checkpointing import IDENTITY, filled, load_filled
from clean import SKIPPED, main, report, run_checks
from forks import exit_code, fork, run_job

from plm_scaling.common.errors import TrainError
from plm_scaling.train.checkpoint.store import save_checkpoint
from plm_scaling.train.distributed.process import cpu_process

KILLED = 9  # exit code of a process that ends itself where it would have been killed


def save(folder, step):
    save_checkpoint(folder, step, IDENTITY, {"step": step}, filled(step))


def newest(folder):
    """Step of the newest checkpoint, which must be whole, as a separate process reads it."""

    def job():
        with cpu_process(1, 1):
            step, position = load_filled(folder)
        assert position == ({"step": step} if step else {})
        return step

    [step] = run_job(1, job, folder.with_name(f"{folder.name} read"))
    return step


def save_one(folder, step):
    with cpu_process(1, 1):
        save(folder, step)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def two_saved(folder):
    """Checkpoints of steps 1 and 2."""

    def job():
        with cpu_process(1, 1):
            save(folder, 1)
            save(folder, 2)

    assert exit_code(fork(job)) == 0


def killed_at_random_moments(tmp_path, kills=2):
    rng = random.Random(5)
    folder, last = tmp_path / "checkpoints", 0

    def saves(first, pipe):
        with cpu_process(1, 1):
            for step in range(first, first + 1000):
                save(folder, step)
                os.write(pipe, b"%d\n" % step)

    for _ in range(kills):
        reading, writing = os.pipe()
        process = fork(lambda: saves(last + 1, writing))  # noqa: B023  runs before the next turn
        os.close(writing)
        with os.fdopen(reading) as output:
            output.readline()  # it has begun, so that all kills hit a save or the time between two
            time.sleep(rng.uniform(0.0, 0.15))
            os.kill(process, signal.SIGKILL)
            saved = [last, *map(int, output.read().split())]
        assert exit_code(process) == -signal.SIGKILL
        last, before = newest(folder), last
        assert last >= max(saved)
        assert last > before
        assert not [name for name in names(folder) if "damaged" in name]


def killed_at_many_random_moments(tmp_path):
    killed_at_random_moments(tmp_path, kills=20)


def killed_before_a_change(tmp_path, every=11):
    folder = tmp_path / "checkpoints"
    two_saved(folder)
    calls = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}

    def save_until(folder, k):
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event in calls and (event != "open" or "step-" in str(arguments[0])):
                count += 1
                if count == k:
                    os._exit(KILLED)

        with cpu_process(1, 1):
            sys.addaudithook(hook)
            save(folder, 3)

    seen = set()
    for k in range(1, 100, every):
        copy = folder.with_name(f"{folder.name}-{k}")
        shutil.copytree(folder, copy)
        code = exit_code(fork(lambda: save_until(copy, k)))  # noqa: B023
        seen.add(newest(copy))
        assert not [name for name in names(copy) if "damaged" in name]
        assert exit_code(fork(lambda: save_one(copy, 4))) == 0  # noqa: B023  what is left is no hindrance
        assert names(copy)[1:] == ["step-000000004"]
        if code == 0:
            break
        assert code == KILLED
    assert k > 15
    assert seen == {2, 3}


def killed_before_each_change(tmp_path):
    killed_before_a_change(tmp_path, every=1)


def small_disk(at):
    """Mount a disk of 1 MB that only this process sees."""
    user, group = os.geteuid(), os.getegid()
    namespaces = 0x10000000 | 0x00020000  # of users and mounts; os.unshare needs Python 3.12
    if ctypes.CDLL(None).unshare(namespaces):
        sys.exit(SKIPPED)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", at]).returncode:
        sys.exit(SKIPPED)


def full_disk(tmp_path):
    disk = tmp_path / "disk"
    folder = disk / "checkpoints"

    def job():
        small_disk(disk)
        with cpu_process(1, 1):
            for step in (1, 2):
                save_checkpoint(folder, step, IDENTITY, {"step": step}, filled(step, 0.3))
            for megabytes in (0.45, 0.6, 1.5):
                with pytest.raises(TrainError) as error:
                    save_checkpoint(folder, 3, IDENTITY, {}, filled(3, megabytes))
                message = str(error.value)
                assert f"{folder}: the checkpoint of step 3 cannot be written: No space" in message
                assert f"it takes {megabytes:.1f} MB, 0." in message
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
            return load_filled(folder, megabytes=0.3)[0]

    job()


def limited_files(tmp_path):
    folder = tmp_path / "checkpoints"
    two_saved(folder)

    def job(limit):
        with cpu_process(1, 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(TrainError, match=r"it takes 0\.2 MB, .* MB are free: make room"):
                save(folder, 3)

    for limit in (10, 500, 5000, 100_000):  # each hits another file
        assert exit_code(fork(lambda: job(limit))) == 0  # noqa: B023
        assert names(folder) == ["step-000000001", "step-000000002"]
    assert newest(folder) == 2


def test_folder_that_cannot_be_made_is_named():
    folder = Path("/proc/run/checkpoints")  # where not even root may
    with cpu_process(1, 1), pytest.raises(TrainError, match=f"{folder}: .*No such file.*see to it"):
        save(folder, 1)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    checks = (killed_at_random_moments, killed_before_a_change, full_disk, limited_files)
    return run_checks(__file__, tmp_path_factory.mktemp("faults"), *checks)


def test_killed_at_random_moments_no_checkpoint_is_half(checked):
    report(checked, killed_at_random_moments)


@pytest.mark.long
@pytest.mark.parametrize("check", [killed_at_many_random_moments, killed_before_each_change])
def test_killed_at_many_moments_no_checkpoint_is_half(tmp_path, check):
    report(run_checks(__file__, tmp_path, check), check)


def test_killed_before_a_change_that_it_makes_to_the_disk_no_checkpoint_is_half(checked):
    report(checked, killed_before_a_change)


def test_full_disk_is_named_and_leaves_the_old_checkpoints(checked):
    report(checked, full_disk)


def test_file_that_may_not_grow_leaves_the_old_checkpoints(checked):
    report(checked, limited_files)


if __name__ == "__main__":
    main(globals())
