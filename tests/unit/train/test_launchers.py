"""A cell of several processes is trained by the very command that the workflow starts it with."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import write_corpus
from machines import machine
from training import result_of, small_cell

from plm_scaling.study.layout import Layout
from plm_scaling.sweep.launch import launcher

pytestmark = pytest.mark.slow
TWO = Layout("cpu", 1, 1, 2, 2, "none", start_minutes=2)

# A launcher of two processes as srun and mpirun are, that tells them nothing of an address.
STARTS_TWO = """#!/bin/sh
for rank in 1 0; do
    PMI_RANK=$rank PMI_SIZE=2 MPI_LOCALRANKID=$rank "$@" & started="$started $!"
done
for process in $started; do wait $process || exit 1; done
"""


@pytest.fixture
def command(root, tmp_path):
    """How a cell is trained by a launcher, and where its record will be."""
    cell = small_cell(root, steps=4, evaluations=1)
    out = result_of(cell, tmp_path)
    arguments = ["--cell", cell.to_json(), "--layout", TWO.to_json(), "--threads", "1"]
    arguments += ["--manifest", write_corpus(tmp_path / "corpus"), "--checkpoint-seconds", "60"]
    program = [root / "scripts/train_cell.py", *arguments, "--out", out]

    def by(*launcher):
        return [*map(str, [*launcher, *program, "--log", tmp_path / "cell.log"])], out

    return by


def run(command, root, **variables):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = os.environ | {"PATH": path, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environ | variables, capture_output=True, text=True, timeout=1200
    )


def test_host_whose_name_does_not_resolve_trains_by_torchrun(command, root):
    """Inside a job whose variables say that there are more nodes."""
    unshare = shutil.which("unshare")
    own_name = [unshare, "--uts", "sh", "-c", 'hostname gpu07.cluster.invalid && exec "$@"', "sh"]
    if not unshare or subprocess.run([*own_name, "true"], capture_output=True).returncode:
        pytest.skip("a host name of its own needs root and unshare")
    started = launcher(TWO, machine(backend="cpu"), "lock").split()
    words, out = command(*own_name, *started)
    done = run(words, root, SLURM_STEP_NUM_TASKS="16", SLURM_PROCID="3")
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["starts"][0]["host"] == "gpu07.cluster.invalid"
    assert record["layout"]["data"] == 2


def test_processes_of_another_launcher_meet_in_the_folder_of_the_run(command, root, tmp_path):
    two = tmp_path / "two"
    two.write_text(STARTS_TWO)
    two.chmod(0o755)
    words, out = command(two, "python")
    done = run(words, root)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["layout"]["data"] == 2
    assert not list(out.parent.glob(".meeting*"))
