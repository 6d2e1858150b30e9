"""Where a process learns which one of its job it is."""

import os
import subprocess
import sys

import pytest
import torch

from plm_scaling.common.errors import ProcessError
from plm_scaling.study.layout import Layout
from plm_scaling.train.distributed import process
from plm_scaling.train.distributed.rendezvous import Rendezvous
from plm_scaling.train.output.throughput import gpu_named

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
TORCHRUN |= {"MASTER_ADDR": "gpu07", "MASTER_PORT": "2345"}
SLURM = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
SLURM |= {"SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "1000123", "SLURM_STEP_ID": "2"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8"}
OPEN_MPI |= {"OMPI_COMM_WORLD_LOCAL_RANK": "1"}


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    for name in {**TORCHRUN, **SLURM, **OPEN_MPI}:
        monkeypatch.delenv(name, raising=False)


def place_in(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Rendezvous.of_environment()


def test_process_without_a_job_is_the_only_one():
    assert Rendezvous.of_environment() == Rendezvous(
        rank=0, world_size=1, local_rank=0, address=None
    )


def test_process_of_a_batch_script_is_the_only_one(monkeypatch):
    assert place_in(monkeypatch, {"SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}).world_size == 1


def test_rank_and_address_are_those_of_torchrun(monkeypatch):
    assert place_in(monkeypatch, TORCHRUN) == Rendezvous(5, 8, 1, "gpu07", 2345)


@pytest.mark.parametrize(
    "variables",
    [
        SLURM,
        {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"},
        {"PMI_RANK": "5", "PMI_SIZE": "8", "SLURM_LOCALID": "1"},
        OPEN_MPI,
        # mpirun inside a job of Slurm starts a process of its own on each node by srun.
        OPEN_MPI | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"},
    ],
)
def test_rank_is_that_of_the_launcher_and_the_address_in_a_note(monkeypatch, variables):
    job = variables.get("SLURM_JOB_ID", "")
    assert place_in(monkeypatch, variables) == Rendezvous(5, 8, 1, None, None, job)


@pytest.fixture
def one_gpu(monkeypatch):
    """A host of which processes see one GPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(process, "_prepare_cuda", lambda layout: None)


def test_process_that_is_shown_only_its_own_gpu_takes_it(one_gpu):
    """As with --gpus-per-task; torchrun shows its processes the same ones."""
    layout = Layout("cuda", 1, 1, 2, 4, "none")
    assert process._device(layout, Rendezvous(1, 2, 1)) == torch.device("cuda", 0)
    with pytest.raises(ProcessError, match=r"process 1 is number 1 on its host, which has 1 GPU"):
        process._device(layout, Rendezvous(1, 2, 1, "127.0.0.1", 2345))


def test_process_bound_to_fewer_cores_takes_as_many_threads(monkeypatch, caplog):
    threads = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    try:
        with process.cpu_process(threads=4, seed=1):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert "1 thread instead of 4: this process has no more cores" in caplog.text


@pytest.mark.parametrize(
    ("device", "gpu"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("NVIDIA T4", None),
    ],
)
def test_gpu_is_recognised_by_the_name_of_its_driver(device, gpu):
    assert gpu_named(device) == gpu


SCORES = """
import sys
from plm_scaling.train.distributed.megatron import import_megatron
import_megatron()
import torch
from plm_scaling.train.distributed.process import cpu_process
with cpu_process(1, 1):
    assert torch.are_deterministic_algorithms_enabled()
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


@pytest.mark.long  # it imports PyTorch anew
def test_process_that_makes_no_optimizer_imports_no_compiler():
    done = subprocess.run([sys.executable, "-c", SCORES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
