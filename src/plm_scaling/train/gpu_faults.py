"""A GPU on which a start dies is set aside, so that the next attempt is made on another one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from plm_scaling.common.devices import hold_own_gpus
from plm_scaling.common.errors import TrainError
from plm_scaling.common.gpus import own_gpus, set_aside
from plm_scaling.train.distributed.process import Rendezvous

# In messages of PyTorch's RuntimeErrors that are no AcceleratorError.
OF_A_GPU = ("CUDA error", "CUDA driver", "CUDA unknown error", "CUBLAS_STATUS", "cuDNN error")

SHARED = 0.1  # of a GPU's memory; CUDA and NCCL take a few hundredths beside PyTorch


@contextmanager
def gpu_faults(run_folder: Path, stepped: Callable[[], bool]) -> Iterator[None]:
    """Within the block, an error of this process's GPU sets it aside, until a step was made.

    Only a GPU that `plm_scaling.common.devices` gave; the error is raised on. A run that made steps
    has shown that the GPU works. Too little memory counts where programs of others take some of it.
    """
    hold_own_gpus()
    try:
        yield
    except Exception as error:
        if (gpus := own_gpus()) and is_of_a_gpu(error, len(gpus)) and not stepped():
            gpu = gpus[Rendezvous.of_environment().local_rank % len(gpus)]
            set_aside(gpu, f"a start of {run_folder} died there ({_first_line(error)})")
        raise


def is_of_a_gpu(error: Exception, given: int) -> bool:
    """Whether an error of a process that was `given` so many GPUs is theirs or the driver's."""
    if isinstance(error, TrainError):  # of ours, and theirs if the driver lists what cannot be used
        return torch.version.cuda is not None and torch.cuda.device_count() < given
    if isinstance(error, torch.OutOfMemoryError):
        return _is_shared()
    if isinstance(error, dist.DistError) or not isinstance(error, RuntimeError):
        return False  # NCCL's errors tell of the ends of other processes
    return isinstance(error, torch.AcceleratorError) or any(
        words in str(error) for words in OF_A_GPU
    )


def _is_shared() -> bool:
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved() > SHARED * total


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
