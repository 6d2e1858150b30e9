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
