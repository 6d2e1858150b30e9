"""Jobs on one machine never share a GPU; nvidia-smi is a stand-in that lists three."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plm_scaling.common.devices import LOCKS

COMMAND = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(60)"


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
        (LOCKS / name).unlink(missing_ok=True)


@pytest.fixture
def start(request: pytest.FixtureRequest):
    """Start a job on so many GPUs; all are killed at the end."""

    def job(count: int, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "plm_scaling.common.devices", str(count)]
        process = subprocess.Popen(
            [*command, sys.executable, "-c", COMMAND],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | env,
        )  # fmt: skip
        request.addfinalizer(process.kill)
        return process

    return job


def gpus_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().strip().split(",")


def test_jobs_get_separate_gpus_and_take_over_those_of_a_killed_job(uuids, start):
    first, second = start(2), None
    assert gpus_of(first) == uuids[:2]
    waiting, second = start(2), start(1)
    assert gpus_of(second) == uuids[2:]
    assert "waits for 2 of 3 GPU(s)" in waiting.stderr.readline()
    first.send_signal(signal.SIGKILL)
    assert gpus_of(waiting) == uuids[:2]


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
    assert "4 GPU(s), this machine has 3" in output
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
