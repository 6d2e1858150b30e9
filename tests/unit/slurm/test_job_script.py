"""The script of a job, run by a shell with a stand-in for srun."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from plm_scaling.slurm.submission import script_of

SRUN = """#!/bin/sh
printf 'srun'
while [ "$1" != sh ]; do printf ' %s' "$1"; shift; done
printf '\\n'
exec "$@"
"""
SHOWN = "env | grep -E '^(SLURM|SRUN|SBATCH|PLM)_' | sort"
OF_SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_CONF": "/of/the/site.conf",
    "SLURM_SUBMIT_DIR": "/study",
    "SLURM_CPUS_PER_TASK": "4",
    "SLURM_MEM_PER_NODE": "500",
    "SRUN_CPUS_PER_TASK": "4",
    "SBATCH_GRES": "gpu:1",
    "OTHER_TEXT": "two lines\nSLURM_X=1; echo no variable",
}
KEPT = ["SLURM_CONF=/of/the/site.conf", "SLURM_JOB_ID=7", "SLURM_SUBMIT_DIR=/study"]


@pytest.fixture
def says(tmp_path):
    """What the script of a job with these resources says, as lines."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | OF_SLURM

    def run(command, requeue=False, threads=1, **resources):
        job = SimpleNamespace(threads=threads, resources=resources)
        script = script_of(job, command, requeue)
        done = subprocess.run(
            ["sh"], input=script, env=environment, capture_output=True, text=True, check=True
        )
        assert not done.stderr
        lines = done.stdout.splitlines()
        return [line for line in lines if line not in OF_SLURM["OTHER_TEXT"].splitlines()]

    return run


def test_a_job_is_one_step_that_hears_nothing_of_the_allocation(says):
    step, *environment = says(SHOWN, threads=4)
    assert step == "srun -n1 --cpu-bind=q --cpus-per-task=4 --nodes=1"
    assert environment == KEPT


def test_a_step_has_the_gpus_of_its_job_and_may_queue_it_again(says):
    step, *environment = says(SHOWN, requeue=True, threads=8, gpu=2, nodes=1)
    assert step == "srun -n1 --cpu-bind=q --cpus-per-task=8 --gpus=2 --nodes=1"
    assert environment == ["PLM_SCALING_MAY_QUEUE_AGAIN=7", *KEPT]


def test_a_job_on_several_nodes_starts_its_processes_itself(says):
    assert says(SHOWN, gpu=16, nodes=2, mpi="srun", cpus_per_task=4) == KEPT


@pytest.mark.parametrize("more", [{}, {"mpi": "srun"}])
def test_what_is_given_before_every_command_runs_before_it(says, more):
    """Snakemake's --precommand, as `module load`."""
    said = says("module() { LOADED=$1; } && module cuda && echo 'with' $LOADED", **more)
    assert said[-1] == "with cuda"
