"""The processes that train: their groups, device, threads and seeds."""

import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

from plm_scaling.common.errors import TrainError
from plm_scaling.study.layout import Layout

COLLECTIVE_TIMEOUT = timedelta(
    minutes=30
)  # a checkpoint on a slow disk may keep the others waiting


@dataclass(frozen=True)
class Rendezvous:
    """Where a process is among those of its job.

    `address` and `port` are where they meet (that of rank 0), None for a single process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    address: str | None = None
    port: int | None = None

    @classmethod
    def of_environment(cls) -> "Rendezvous":
        """From the variables that torchrun sets or, without them, srun; else a single process."""
        env = os.environ
        if "RANK" in env and "WORLD_SIZE" in env:
            return cls(
                int(env["RANK"]),
                int(env["WORLD_SIZE"]),
                int(env.get("LOCAL_RANK", 0)),
                env.get("MASTER_ADDR", "127.0.0.1"),
                int(env.get("MASTER_PORT", 29500)),
            )
        if "SLURM_STEP_NUM_TASKS" in env:  # set only by srun, unlike SLURM_PROCID
            job = int(env.get("SLURM_JOB_ID", 0)) * 7 + int(env.get("SLURM_STEP_ID", 0))
            return cls(
                int(env["SLURM_PROCID"]),
                int(env["SLURM_STEP_NUM_TASKS"]),
                int(env["SLURM_LOCALID"]),
                env.get("MASTER_ADDR", first_host(env.get("SLURM_STEP_NODELIST", "127.0.0.1"))),
                int(env.get("MASTER_PORT", 20000 + job % 20000)),
            )
        return cls()


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list: `gpu[07-09,12],login` → `gpu07`."""
    found = re.match(r"([^\[,]*)(?:\[([^\],-]*)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes


@dataclass(frozen=True)
class Process:
    """One process of the job that trains a cell."""

    rendezvous: Rendezvous
    layout: Layout
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes the curve, the record and the log."""
        return self.rendezvous.rank == 0

    @property
    def data_rank(self) -> int:
        """Which of the layout's `data` replicas this process is part of."""
        return int(parallel_state.get_data_parallel_rank())

    def maximum(self, *values: float) -> list[float]:
        """The largest of each value over all processes, the same in each of them."""
        return self._reduced(dist.ReduceOp.MAX, values)

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        return self._reduced(dist.ReduceOp.SUM, values)

    def of_ranks(self, value: float) -> list[float]:
        """The value of each process, by rank."""
        ranks = range(self.rendezvous.world_size)
        return self.total(*(value * (rank == self.rendezvous.rank) for rank in ranks))

    def _reduced(self, op: dist.ReduceOp.RedOpType, values: tuple[float, ...]) -> list[float]:
        if self.rendezvous.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=op)
        return [float(value) for value in tensor.tolist()]


@contextmanager
def training_process(layout: Layout, threads: int, seed: int) -> Iterator[Process]:
    """This process as one of `layout`, with megatron-core's groups and everything random seeded.

    gloo for the cpu backend, nccl with one GPU per process for cuda. A single process needs no
    socket. Raises `TrainError` when the job has not as many processes as the layout, or no GPU.
    """
    rendezvous = Rendezvous.of_environment()
    if layout.processes == 1 and rendezvous.world_size == 1:
        rendezvous = Rendezvous()
    if rendezvous.world_size != layout.processes:
        n = layout.processes
        raise TrainError(
            f"the layout has {layout.tensor} (tensor) · {layout.pipeline} (pipeline) · "
            f"{layout.data} (data) = {n} processes, but this job runs {rendezvous.world_size}; "
            f"start it with `torchrun --nproc-per-node {n} -- scripts/train_cell.py …` or `srun "
            f"--ntasks {n} python scripts/train_cell.py …`, or change the layout"
        )
    device = _device(layout, rendezvous)
    _set_up(device, threads, seed)
    _meet(layout, rendezvous)
    try:
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=layout.tensor, pipeline_model_parallel_size=layout.pipeline
        )
        if device.type == "cuda":
            # Nothing is drawn on the GPU, but megatron-core's layers ask for its states.
            model_parallel_cuda_manual_seed(seed)
        yield Process(rendezvous, layout, device)
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


@contextmanager
def cpu_process(threads: int, seed: int) -> Iterator[None]:
    """A single process on the CPU with `threads` threads, whatever job it is part of."""
    _set_up(torch.device("cpu"), threads, seed)
    _meet(Layout("cpu", 1, 1, 1, 1, "none"), Rendezvous())
    try:
        parallel_state.initialize_model_parallel()
        yield
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def _device(layout: Layout, rendezvous: Rendezvous) -> torch.device:
    if layout.backend == "cpu":
        return torch.device("cpu")
    found = torch.cuda.device_count()
    # Slurm may show each process only its own GPU.
    index = 0 if found == 1 and "SLURM_STEP_NUM_TASKS" in os.environ else rendezvous.local_rank
    if index >= found:
        raise TrainError(
            f"backend cuda: process {rendezvous.rank} is number {rendezvous.local_rank} on its "
            f"host, which has {found} GPU(s) that PyTorch {torch.__version__} can use; ask for one "
            "GPU per process, or set machine.backend to cpu"
        )
    device = torch.device("cuda", index)
    _prepare_cuda(layout)
    torch.cuda.set_device(device)
    return device


def _prepare_cuda(layout: Layout) -> None:
    """What must be set before the first use of the GPU, unless the user has set it."""
    if layout.tensor > 1:
        # One queue of kernels: communication starts in the order in which it is issued, so that
        # products of the same layer do not hold it up.
        os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        # Evaluations and training passes differ in size: without holes between their tensors.
        torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
    # Sums of bf16 products in fp32, also where a product is divided over the GPU's processors.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def _set_up(device: torch.device, threads: int, seed: int) -> None:
    """Threads, fixed orders of summation (on the CPU) and seeds."""
    torch.set_num_threads(threads)
    # On GPUs fixed orders cost a tenth of the speed and more; there a resume agrees to rounding.
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Filling memory that is written anyway takes a fifth of a small model's step.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _meet(layout: Layout, rendezvous: Rendezvous) -> None:
    backend = "gloo" if layout.backend == "cpu" else "nccl"
    if rendezvous.address is None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        return
    if rendezvous.address in ("127.0.0.1", "localhost"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # Through the environment, because torchrun has opened the port already and says so there.
    os.environ.update(MASTER_ADDR=rendezvous.address, MASTER_PORT=str(rendezvous.port))
    dist.init_process_group(
        backend,
        init_method="env://",
        rank=rendezvous.rank,
        world_size=rendezvous.world_size,
        timeout=COLLECTIVE_TIMEOUT,
    )
