"""A lock is one process's, says whose, and goes with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plm_scaling.common import lock
from plm_scaling.common.errors import LockError

HOLDER = """
import sys, time
from pathlib import Path
from plm_scaling.common.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
COUNTER = """
import sys
from pathlib import Path
from plm_scaling.common.lock import held
folder = Path(sys.argv[1])
for _ in range(100):
    with held(folder / "lock"):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "WAIT_SECONDS", 0.3)


def holder(path: Path, seconds: float, **env: str) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | env)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_lock_held_by_another_process_names_it(tmp_path):
    path = tmp_path / "folder" / "lock"
    other = holder(path, 10_000, SLURM_JOB_ID="77")
    expected = rf"{path.parent}: Slurm job 77, process {other.pid} on \S+, since 2\d{{3}}-.*; wait"
    with pytest.raises(LockError, match=expected):
        lock.take(path)
    other.kill()
    other.wait()


def test_lock_of_a_killed_holder_is_released(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WAIT_SECONDS", 600.0)  # then it would be refused
    path = tmp_path / "lock"
    other = holder(path, 10_000)
    os.kill(other.pid, signal.SIGKILL)
    with lock.held(path):
        assert f"process {os.getpid()} on" in path.read_text()
    assert not path.exists()
    other.wait()


def test_lock_excludes_two_holders_even_if_its_file_is_removed(tmp_path, monkeypatch):
    """Each holder removes the file while others wait for it."""
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "300"


def test_lock_in_a_folder_without_write_permission_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LockError, match=rf"{tmp_path}/file cannot be written to .*; make it"):
        lock.take(tmp_path / "file" / "lock")
