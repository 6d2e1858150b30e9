"""Jobs of several processes in tests, forked so that what takes seconds to import is there."""

import gc
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  any optimizer imports it, for two seconds in each fork
import torch.distributed as dist
from megatron.core import parallel_state


def fork(function: Callable[[], Any], out: Path | None = None) -> int:
    """Run `function` in a separate process; its exit code is 0, that of a SystemExit, or 1.

    What it returns is pickled into `out`. Returns the process's id.
    """
    _forget_process_groups()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        result = function()
        if out is not None:
            out.write_bytes(pickle.dumps(result))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _forget_process_groups() -> None:
    """Drop what megatron-core keeps of groups destroyed before: a fork has not their threads, and
    would fall over them."""
    for name, value in list(vars(parallel_state).items()):
        if isinstance(value, dist.ProcessGroup):
            setattr(parallel_state, name, None)
    gc.collect()


def exit_code(process: int) -> int:
    """Wait for a process; negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def start_job(n: int, function: Callable[[], Any], folder: Path) -> list[int]:
    """Start `function` in `n` processes that find each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def as_rank(rank: int) -> Any:
        for name, value in {**variables, "RANK": rank, "LOCAL_RANK": rank}.items():
            os.environ[name] = str(value)
        return function()

    folder.mkdir(parents=True, exist_ok=True)
    return [fork(lambda rank=rank: as_rank(rank), folder / f"{rank}.pickle") for rank in range(n)]  # type: ignore[misc]


def run_job(n: int, function: Callable[[], Any], folder: Path) -> list[Any]:
    """What `function` returns in each of `n` processes; fails if one of them does."""
    processes = start_job(n, function, folder)
    codes = []
    for process in processes:
        codes.append(exit_code(process))
        if codes[-1]:  # the others may wait for it
            for other in processes[len(codes) :]:
                os.kill(other, signal.SIGKILL)
    assert not any(codes), f"exit codes {codes}"
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(n)]
