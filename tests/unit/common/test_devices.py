"""Jobs on one machine never share a GPU; nvidia-smi is a stand-in that lists three."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plm_scaling.common import gpus, lock
from plm_scaling.common.gpus import FOLDER

COMMAND = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(1000)"
# As torchrun does: its processes inherit no descriptors, and outlive it for a while.
LAUNCHER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""
WORKER = """
import os, time
from plm_scaling.common.devices import hold_own_gpus
hold_own_gpus()
print(os.environ['CUDA_VISIBLE_DEVICES'], os.getpid(), flush=True)
time.sleep(1000)
"""
NOBODY = 65534
OF_USER = """
import os, sys
from plm_scaling.common.devices import main
os.setuid(int(sys.argv[1]))
main(["1", "/bin/sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 1000"])
"""


@pytest.fixture
def uuids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    names = [f"GPU-{os.getpid()}-{time.time_ns()}-{number}" for number in range(3)]
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(names) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield names
    for name in names:
        for path in FOLDER.glob(f"{name}*"):
            path.unlink()


@pytest.fixture
def start(request: pytest.FixtureRequest):
    """Start a job on so many GPUs; all are killed at the end."""

    def job(count: int, *options: str, python: tuple[str, ...] = (COMMAND,), **env: str):
        command = [sys.executable, "-m", "plm_scaling.common.devices", str(count), *options]
        return started(request, [*command, sys.executable, "-c", *python], env)

    return job


def started(request: pytest.FixtureRequest, command: list[str], env: dict[str, str]):
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    )
    request.addfinalizer(process.kill)
    return process


def gpus_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().strip().split(",")


def said(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def test_jobs_get_separate_gpus_and_take_over_those_of_a_killed_job(uuids, start):
    first, second = start(2), None
    assert gpus_of(first) == uuids[:2]
    second = start(1)
    assert gpus_of(second) == uuids[2:]
    waiting = start(2)
    message = said(waiting)
    assert "waits for 2 of 3 GPUs, has 0" in message
    assert f"{uuids[0]} by process {first.pid} on" in message
    first.send_signal(signal.SIGKILL)
    assert gpus_of(waiting) == uuids[:2]


def test_a_large_job_is_not_overtaken_by_small_ones(uuids, start):
    running = [start(1) for _ in uuids]
    own = [gpus_of(job)[0] for job in running]
    assert sorted(own) == uuids
    large = start(2)
    assert "waits for 2 of 3 GPUs" in said(large)
    small = start(1)
    assert f"behind process {large.pid} on" in said(small)
    running[0].kill()
    with pytest.raises(subprocess.TimeoutExpired):  # what is free now is kept for the first
        small.wait(3)
    running[1].kill()
    assert sorted(gpus_of(large)) == sorted(own[:2])
    running[2].kill()
    assert gpus_of(small) == own[2:]


def test_jobs_with_other_gpus_do_not_wait_for_these(uuids, start):
    first = {"CUDA_VISIBLE_DEVICES": "0,1"}
    gpus_of(start(1, **first))
    assert "waits for 2 of 2 GPUs, has 1" in said(start(2, **first))
    assert gpus_of(start(1, CUDA_VISIBLE_DEVICES="2")) == uuids[2:]


def test_a_waiting_job_ends_with_its_parent_and_gives_up_its_place(uuids, start, tmp_path):
    gpus_of(start(3))
    script = f"{sys.executable} -m plm_scaling.common.devices 3 true 2> {tmp_path}/said; true"
    parent = subprocess.Popen(["sh", "-c", script])
    while "waits" not in ((tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""):
        time.sleep(0.05)
    assert lock.is_held(FOLDER / f"{uuids[0]}.queue")
    parent.kill()
    parent.wait()
    end = time.monotonic() + 300
    while lock.is_held(FOLDER / f"{uuids[0]}.queue"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_that_runs_outlives_its_parent(uuids, tmp_path, start):
    job = (
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {COMMAND}"
    )
    script = f'{sys.executable} -m plm_scaling.common.devices 3 {sys.executable} -c "$JOB"; true'
    parent = subprocess.Popen(
        ["sh", "-c", script], env=os.environ | {"JOB": job}, stdout=subprocess.PIPE, text=True
    )
    gpus_of(parent)
    parent.kill()
    parent.wait()
    assert "waits for 1 of 3" in said(start(1))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_job_waits_for_the_copy_of_it_that_runs_without_taking_gpus(uuids, start, tmp_path):
    path = tmp_path / "cell" / "lock"
    held = lock.take(path)
    copy = start(3, "--after", str(path))
    assert f"waits for another run in {path.parent}: process {os.getpid()} on" in said(copy)
    other = start(3)
    assert gpus_of(other) == uuids
    other.kill()
    os.close(held)
    assert gpus_of(copy) == uuids


def test_nothing_is_waited_for_where_no_copy_ever_ran(uuids, start, tmp_path):
    assert gpus_of(start(1, "--after", str(tmp_path / "cell" / "lock"))) == uuids[:1]


def test_processes_of_a_killed_launcher_keep_its_gpus_until_they_end(uuids, start):
    launcher = start(2, python=(LAUNCHER, WORKER))
    names, worker = launcher.stdout.readline().split()
    assert names.split(",") == uuids[:2]
    launcher.kill()
    launcher.wait()
    waiting = start(2)
    assert "waits for 2 of 3 GPUs, has 1" in said(waiting)
    os.kill(int(worker), signal.SIGKILL)
    assert len(gpus_of(waiting)) == 2


def test_cleaners_of_tmp_leave_the_locks_of_a_running_job(uuids, start):
    """systemd-tmpfiles skips a folder of which it cannot take the lock."""
    gpus_of(start(1))
    folder = os.open(FOLDER, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become others")
def test_users_share_the_locks_whoever_made_the_files(request):
    """Parts of a GPU, since these names need no nvidia-smi, which others could not read here."""
    names = [f"MIG-{os.getpid()}-{time.time_ns()}-{number}" for number in range(2)]
    request.addfinalizer(lambda: [p.unlink() for name in names for p in FOLDER.glob(f"{name}*")])

    def start(user: int):
        command = [sys.executable, "-c", OF_USER, str(user)]
        return started(request, command, {"CUDA_VISIBLE_DEVICES": ",".join(names)})

    first, second = start(NOBODY), None
    assert gpus_of(first) == names[:1]
    second = start(0)
    assert gpus_of(second) == names[1:]
    first.kill()
    first.wait()
    assert gpus_of(start(0)) == names[:1]
    waiting = start(NOBODY)
    assert "(root)" in said(waiting)
    second.kill()
    assert gpus_of(waiting) == names[1:]


def test_a_gpu_set_aside_is_left_to_its_fault_for_a_time(uuids, start):
    gpus.set_aside(uuids[0], "a start of cell 12\ndied there")
    (note,) = [text for text in gpus.notes_of_set_aside() if uuids[0] in text]
    assert "a start of cell 12 died there; remove " in note
    jobs = [start(1), start(1)]
    assert sorted(name for job in jobs for name in gpus_of(job)) == uuids[1:]
    waiting = start(1)
    assert "waits for 1 of 3" in said(waiting)
    old = time.time() - gpus.ASIDE_SECONDS - 1
    os.utime(FOLDER / f"{uuids[0]}.aside", (old, old))
    assert not [text for text in gpus.notes_of_set_aside() if uuids[0] in text]
    assert gpus_of(waiting) == uuids[:1]


def test_gpus_are_never_all_set_aside(uuids, start):
    gpus.set_aside(uuids[0], "died")
    whole = start(3)
    assert sorted(gpus_of(whole)) == uuids  # who needs all gets all
    whole.kill()
    whole.wait()
    gpus.set_aside(uuids[1], "died")  # and what fails on most is not their fault
    assert sorted(name for _ in uuids for name in gpus_of(start(1))) == uuids


def test_gpus_given_by_number_or_uuid_are_the_ones_used(uuids, start):
    assert gpus_of(start(1, CUDA_VISIBLE_DEVICES="2")) == uuids[2:]
    assert gpus_of(start(1, CUDA_VISIBLE_DEVICES=f"{uuids[2]}, 1, 1")) == uuids[1:2]
    assert gpus_of(start(1, CUDA_VISIBLE_DEVICES=f"{uuids[0]},-1,1")) == uuids[:1]


@pytest.mark.parametrize("names", ["3", "GPU-", "0,other"])
def test_a_name_that_is_no_gpu_of_the_machine_is_refused(uuids, start, names):
    failed = start(1, CUDA_VISIBLE_DEVICES=names)
    assert failed.wait() == 1
    assert "CUDA_VISIBLE_DEVICES names" in failed.stderr.read()


def test_more_gpus_than_the_machine_has_is_an_error_naming_both_numbers(uuids, start):
    failed = start(4)
    assert failed.wait() == 1
    output = failed.stderr.read()
    assert "4 GPUs, this machine has 3" in output
    assert "machine.gpus_per_node" in output


@pytest.mark.parametrize("driver", ["absent", "failing", "hidden"])
def test_without_gpus_the_command_starts_unchanged(uuids, monkeypatch, tmp_path, driver):
    if driver == "absent":
        (tmp_path / "nvidia-smi").unlink()
    elif driver == "failing":
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = [sys.executable, "-m", "plm_scaling.common.devices", "1"]
    done = subprocess.run([*command, sys.executable, "-c", "print('started')"], capture_output=True)
    assert done.stdout == b"started\n"


def test_gpus_are_known_when_nvidia_smi_fails_because_one_is_lost(uuids, monkeypatch, tmp_path):
    tool = "#!/bin/sh\necho 'Unable to determine the device handle for GPU0000:8A:00.0'\nexit 15\n"
    (tmp_path / "nvidia-smi").write_text(tool)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "gpus")
    for address, uuid in {
        "0000:8a:00.0": "GPU-????????-????",
        "0000:1a:00.0": "GPU-0a1b-2c",
    }.items():
        (tmp_path / "gpus" / address).mkdir(parents=True)
        text = f"Model: \t\t H100\nGPU UUID: \t {uuid}\nVideo BIOS: \t 96\n"
        (tmp_path / "gpus" / address / "information").write_text(text)
    assert gpus.visible_gpus() == ["GPU-0a1b-2c"]
