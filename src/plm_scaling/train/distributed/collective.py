"""Steps that all processes of a job take together: all succeed, or all raise the same error.

A process that failed alone would leave the others waiting in their next collective call.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import torch.distributed as dist

from plm_scaling.common.errors import PlmScalingError, ProcessError

T = TypeVar("T")
GROUP: ContextVar[dist.ProcessGroup | None] = ContextVar("group", default=None)
"""All processes, as this thread calls them; None: the group of the main thread."""


def rank() -> int:
    """Number of this process in the job; 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Processes of the job."""
    return dist.get_world_size() if dist.is_initialized() else 1


def everywhere(action: Callable[[], T]) -> list[T]:
    """Run `action` in every process. Returns the results by rank, the same in all of them.

    If it fails anywhere, every process raises the error of the first rank that failed: `OSError`
    and `PlmScalingError` as they are, anything else as a `ProcessError` that names the rank.
    `action` must make no collective call after a point at which it may fail alone.
    """
    own: T | Exception
    try:
        own = action()
    except Exception as error:
        own = error
    if world_size() == 1:
        if isinstance(own, Exception):
            raise own
        return [own]
    results: list[T | Exception] = [None] * world_size()  # type: ignore[list-item]
    dist.all_gather_object(results, _portable(own), group=GROUP.get())
    for number, result in enumerate(results):
        if isinstance(result, Exception):
            raise result from (own if number == rank() else None)  # type: ignore[misc]
    return results  # type: ignore[return-value]


def on_first(action: Callable[[], T]) -> T:
    """Run `action` only in the first process. Its result, or its error, in all of them."""
    return everywhere(action if rank() == 0 else lambda: None)[0]  # type: ignore[return-value]


def _portable(result: T | Exception) -> T | Exception:
    """An error that another process can unpickle."""
    if not isinstance(result, Exception) or type(result) is OSError:
        return result
    if isinstance(result, OSError):
        return OSError(*result.args)  # becomes the same subclass again, by its errno
    if isinstance(result, PlmScalingError):
        return type(result)(str(result))
    return ProcessError(f"process {rank()} failed: {type(result).__name__}: {result}")
