"""The processes that train: their groups, device, threads and seeds."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

from plm_scaling.common.errors import ProcessError, TrainError
from plm_scaling.common.progress import logger, many
from plm_scaling.study.layout import Layout
from plm_scaling.train.distributed.meeting import Meeting
from plm_scaling.train.distributed.rendezvous import Rendezvous

COLLECTIVE_SECONDS = 1800.0  # a checkpoint on a slow disk may keep the others waiting


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
def training_process(
    layout: Layout, threads: int, seed: int, folder: Path | None = None
) -> Iterator[Process]:
    """This process as one of `layout`, with megatron-core's groups and everything random seeded.

    gloo for the cpu backend, nccl with one GPU per process for cuda. A single process needs no
    socket; several that torchrun did not start meet by a note in `folder` (see `meeting` beside
    this module). Raises `TrainError` when the job has not as many processes as the layout, and
    `ProcessError` when they do not meet or one finds no GPU.
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
    _meet(layout, rendezvous, folder)
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
    # A scheduler may show each process only its own GPU; torchrun shows them the same.
    index = 0 if found == 1 and rendezvous.address is None else rendezvous.local_rank
    if index >= found:
        raise ProcessError(  # a host may have lost one: another host may do
            f"backend cuda: process {rendezvous.rank} is number {rendezvous.local_rank} on its "
            f"host, which has {many(found, 'GPU')} that PyTorch {torch.__version__} can use; "
            "ask for one GPU per process, or set machine.backend to cpu"
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
    cores = len(os.sched_getaffinity(0))
    if threads > cores:  # bound by a scheduler to fewer: more threads would wait for each other
        logger.warning(
            "%s instead of %d: this process has no more cores", many(cores, "thread"), threads
        )
    torch.set_num_threads(min(threads, cores))
    # On GPUs fixed orders cost a tenth of the speed and more; there a resume agrees to rounding.
    # use_deterministic_algorithms does the same, and imports PyTorch's compiler for two seconds.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "default")
    # Filling memory that is written anyway takes a fifth of a small model's step.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _meet(layout: Layout, rendezvous: Rendezvous, folder: Path | None = None) -> None:
    backend = "gloo" if layout.backend == "cpu" else "nccl"
    if rendezvous.world_size == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        return
    start_seconds = 60 * layout.start_minutes
    meeting = Meeting(rendezvous, folder, start_seconds)
    if meeting.interface:  # gloo would take that of the host's name, if it has any
        os.environ.setdefault("GLOO_SOCKET_IFNAME", meeting.interface)
    dist.init_process_group(
        backend,
        store=meeting.store,
        rank=rendezvous.rank,
        world_size=rendezvous.world_size,
        timeout=timedelta(seconds=max(COLLECTIVE_SECONDS, start_seconds)),
    )
