"""Checkpoints that are written while training goes on."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.dict_utils import dict_list_map_outplace
from megatron.core.dist_checkpointing.mapping import ShardedTensor

from plm_scaling.train.checkpoint.store import save_checkpoint
from plm_scaling.train.distributed.collective import GROUP, world_size


class Saves:
    """The checkpoints of a run; its methods are collective, but for `failed`.

    On GPUs a save takes as long as it takes to copy what this process owns to main memory; a thread
    writes the copy. On CPUs the thread would take the cores from training: there `save` writes.
    """

    def __init__(self, folder: Path, identity: dict[str, str], device: torch.device | None) -> None:
        """`device`: that of training if a thread is to write."""
        self.folder = folder
        self.identity = identity
        self.longest = 0.0
        """Seconds of the longest write that was waited for."""
        self._pool: ThreadPoolExecutor | None = None
        self._pending: Future[float] | None = None
        if device is not None:
            # Calls of two threads would meet in one group. gloo: nothing here is on a GPU.
            group = dist.new_group(backend="gloo") if world_size() > 1 else None
            self._pool = ThreadPoolExecutor(1, "saves", _begin_thread, (group, device))

    def save(self, step: int, position: dict[str, Any], state: dict[str, Any]) -> None:
        """Save `state` as it is now; see `save_checkpoint`. Waits for the save before it."""
        self.wait()
        if self._pool is None:
            self._write(step, position, state)
        else:
            copy = dict_list_map_outplace(_on_host, state)
            self._pending = self._pool.submit(self._write, step, position, copy)

    def failed(self) -> bool:
        """Whether the last write failed in this process; `wait` raises why, in all of them."""
        pending = self._pending
        return pending is not None and pending.done() and pending.exception() is not None

    def wait(self) -> None:
        """Until all is written. Raises what kept it from being written."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self.longest = max(self.longest, pending.result())

    def close(self) -> None:
        """Let the write under way end, however it may."""
        if self._pool is not None:
            self._pool.shutdown()

    def _write(self, step: int, position: dict[str, Any], state: dict[str, Any]) -> float:
        begin = time.monotonic()
        save_checkpoint(self.folder, step, self.identity, position, state)
        return time.monotonic() - begin


def _begin_thread(group: dist.ProcessGroup | None, device: torch.device) -> None:
    GROUP.set(group)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # a thread begins with the first GPU, which may be another's


def _on_host(part: Any) -> Any:
    if not isinstance(part, ShardedTensor):
        return part
    return replace(part, data=part.data.to("cpu", copy=True, memory_format=torch.contiguous_format))
