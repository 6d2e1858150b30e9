"""megatron-core's CUDA code on CPUs and gloo, to test the logic of the cuda engine without a GPU.

Only for tests. What it replaces: the current device, its synchronisation, events and random states,
`Tensor.cuda` and `Tensor.type`, `device="cuda"` in calls of PyTorch, and what `process.py` does for
the cuda backend.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker
from torch.overrides import TorchFunctionMode

from plm_scaling.train.distributed import process

CPU = torch.device("cpu")


class _CudaIsCpu(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if str(kwargs.get("device", "")).startswith("cuda"):
            kwargs["device"] = CPU
        return function(*args, **kwargs)


class _Event:
    """A CPU has done what it was asked for when it says so."""

    def __init__(self, enable_timing: bool) -> None:
        pass

    def record(self) -> None:
        self.time = time.monotonic()

    def elapsed_time(self, end: "_Event") -> float:
        return 1000 * (end.time - self.time)


def _type(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if args or kwargs:
        return _real_type(tensor, *args, **kwargs)
    return f"torch.cuda.{_real_type(tensor).split('.')[-1]}"


_real_type = torch.Tensor.type
_real_init = dist.init_process_group


@contextmanager
def cuda_on_cpu() -> Iterator[None]:
    """Within the block, layouts of the cuda backend train on the CPU."""

    def init(backend: str, **kwargs: Any) -> None:
        _real_init("gloo", **kwargs)

    with (
        mock.patch("torch.cuda.current_device", return_value=CPU),
        mock.patch("torch.cuda.synchronize"),
        mock.patch("torch.cuda.Event", _Event),
        mock.patch.object(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor),
        mock.patch.object(torch.Tensor, "type", _type),
        mock.patch.object(CudaRNGStatesTracker, "fork", nullcontext),
        mock.patch.object(process, "_device", return_value=CPU),
        mock.patch("torch.distributed.init_process_group", init),
        _CudaIsCpu(),
    ):
        yield
