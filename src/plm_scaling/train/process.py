"""The process that trains: threads, seeds and megatron-core's process groups on the CPU."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state


@contextmanager
def cpu_process(threads: int, seed: int) -> Iterator[None]:
    """One gloo process with `threads` threads; everything random starts from `seed`."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is written anyway takes a fifth of a small model's step.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        parallel_state.initialize_model_parallel()
        yield
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()
