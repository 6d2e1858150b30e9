"""The measurement of a job's GPUs, with CPUs in their place."""

import re
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from plm_scaling.slurm import probe_gpus

probe_gpus.SIZE, probe_gpus.TIMES, probe_gpus.BYTES = 64, 2, 1 << 12
probe_gpus.measure(int(sys.argv[1]), int(sys.argv[2]), "cpu")
"""

HANGS = """
from unittest import mock
from plm_scaling.slurm import probe_gpus


def alone(rank, n):
    probe_gpus.LIMIT_SECONDS = 1
    probe_gpus.SIZE = 64
    probe_gpus.measure(rank, n + 1, "cpu")  # there is one more, which never comes


if __name__ == "__main__":
    probe_gpus.LIMIT_SECONDS, probe_gpus.measure = 1, alone
    with mock.patch("torch.cuda.device_count", lambda: 1):
        probe_gpus.main(1)
"""


def test_gpus_that_do_not_meet_are_said(tmp_path):
    """The import of PyTorch, of any length on a shared file system, is not in the limit."""
    program = tmp_path / "hangs.py"
    program.write_text(HANGS)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "1 GPUs did not meet within 1 s"


@pytest.mark.parametrize("n", [2])
def test_gpus_compute_and_meet(n, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4321")
    command = [sys.executable, "-c", PROGRAM]
    started = [
        subprocess.Popen([*command, str(rank), str(n)], stdout=subprocess.PIPE, text=True)
        for rank in range(n)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    measured = r"[\d.e+-]+ TFLOP/s" + (r" [\d.e+-]+ GB/s" if n > 1 else "")
    assert re.fullmatch(measured + "\n", said[0])
    assert said[1:] == [""] * (n - 1)
