"""Whether the GPUs of a job compute and meet by NCCL: `python -m plm_scaling.slurm.probe_gpus N`.

Prints `512.0 TFLOP/s 180.0 GB/s`, the second with several GPUs.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

SIZE, TIMES = 8192, 20  # of a matrix product; products and all-reduces that are timed
BYTES = 1 << 28  # of an all-reduce
LIMIT_SECONDS = 60  # that they may take, once PyTorch is imported


def main(n: int) -> None:
    if torch.cuda.device_count() < n:
        sys.exit(f"torch sees {torch.cuda.device_count()} of {n} GPUs: {why()}")
    try:
        processes.spawn(measure, args=(n,), nprocs=n)
    except processes.ProcessExitedException as error:
        hung = error.signal_name == "SIGALRM"
        sys.exit(f"{n} GPUs did not meet within {LIMIT_SECONDS} s" if hung else str(error))


def why() -> str:
    """Why torch sees no GPU."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"{str(error).splitlines()[0]} (CUDA_VISIBLE_DEVICES {devices})"
    return f"CUDA_VISIBLE_DEVICES is {devices}"


def measure(rank: int, n: int, device: str = "cuda") -> None:
    """In the process `rank` of `n`; the first prints. On the device `cpu` it tries this program."""
    signal.alarm(LIMIT_SECONDS)  # ends the process, whatever library waits
    if device == "cuda":
        torch.cuda.set_device(rank)
    matrix = torch.randn(SIZE, SIZE, device=device, dtype=torch.bfloat16)
    flops = 2 * SIZE**3 / seconds(lambda: torch.mm(matrix, matrix), device)
    line = f"{flops / 1e12:.4g} TFLOP/s"
    if n > 1:
        store = dist.TCPStore("127.0.0.1", port(), n, is_master=rank == 0)
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=n)
        block = torch.ones(BYTES // 2, device=device, dtype=torch.bfloat16)
        moved = 2 * (n - 1) / n * BYTES  # by each GPU, as nccl-tests count it
        line += f" {moved / seconds(lambda: dist.all_reduce(block), device) / 1e9:.4g} GB/s"
        dist.destroy_process_group()
    signal.alarm(0)
    if rank == 0:
        print(line)


def port() -> int:
    """The same in all processes of the job, below the ports that are given out."""
    return 10000 + int(os.environ.get("SLURM_JOB_ID", os.getppid())) % 20000


def seconds(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, after some that are not timed."""
    for _ in range(3):
        work()
    _finish(device)
    begin = time.monotonic()
    for _ in range(TIMES):
        work()
    _finish(device)
    return (time.monotonic() - begin) / TIMES


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(int(sys.argv[1]))
