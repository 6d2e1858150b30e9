"""What a compute node is like, found by a job of `plm-scaling check-site`: FOLDER/PARTITION.json.

`python -m plm_scaling.slurm.probe FOLDER PARTITION GPUS NODE…`: so many GPUs compute and meet by
NCCL, and the names of the NODEs are looked up.
"""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from json import dumps
from pathlib import Path

from plm_scaling.common.files import atomic
from plm_scaling.common.lock import NAME as LOCK  # in FOLDER; held on the login node while jobs run
from plm_scaling.common.lock import take_if_free

# The measurement of GPUs has a limit of its own; a shared file system takes long to import PyTorch.
SECONDS_OF_GPUS = 240.0


@dataclass
class Node:
    """What a job found. `gpus` are names; `error` is why the GPUs could not be used, if so."""

    host: str
    started: float
    """seconds since the epoch"""
    cpus: int
    unresolved: list[str]
    """names of nodes, its own among them, that have no address"""
    home: str
    home_inode: int | None
    """None where there is no such folder"""
    home_writable: bool
    file_system: str
    locks: bool
    """whether a lock that the login node holds is seen"""
    scratch: str
    scratch_bytes: int
    gpus: list[str] = field(default_factory=list)
    driver: str = ""
    tflops: float | None = None
    """of one GPU, BF16 matrix products"""
    nccl_gbytes_per_second: float | None = None
    """of an all-reduce between the job's GPUs"""
    error: str = ""


def main(folder: Path, partition: str, gpus: int, names: list[str]) -> None:
    """Write what this node is like; the GPUs last, so that a job that hangs there has the rest."""
    out = folder / f"{partition}.json"
    node = look(folder, names)
    write(out, node)
    if gpus:
        use_gpus(node, gpus)
        write(out, node)


def look(folder: Path, names: list[str]) -> Node:
    """All but the GPUs."""
    home = Path(os.environ.get("HOME", "/"))
    scratch = tempfile.gettempdir()
    lock = take_if_free(folder / LOCK)
    return Node(
        host=os.environ.get("SLURMD_NODENAME", platform.node()),
        started=time.time(),
        cpus=len(os.sched_getaffinity(0)),
        unresolved=[name for name in dict.fromkeys([platform.node(), *names]) if not address(name)],
        home=str(home),
        home_inode=home.stat().st_ino if home.is_dir() else None,
        home_writable=os.access(home, os.W_OK),
        file_system=file_system(folder),
        locks=lock is None,
        scratch=scratch,
        scratch_bytes=shutil.disk_usage(scratch).free,
    )


def address(name: str) -> str:
    """The first address of a host; empty if its name does not resolve."""
    with suppress(OSError):
        return str(socket.getaddrinfo(name, None)[0][4][0])
    return ""


def file_system(folder: Path, mounts: str = "/proc/self/mounts") -> str:
    """The kind of file system a folder is on, such as lustre or nfs4; empty if unknown."""
    kinds = {}
    with suppress(OSError):
        for line in Path(mounts).read_text().splitlines():
            _, where, kind, *_ = line.split()
            kinds[Path(where.replace("\\040", " "))] = kind
    place = folder.resolve()
    return next((kinds[path] for path in (place, *place.parents) if path in kinds), "")


def use_gpus(node: Node, gpus: int) -> None:
    """Name the job's GPUs, and let them compute and meet."""
    ask = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True)
        rows = [line.split(", ") for line in done.stdout.splitlines()]
        node.gpus, node.driver = [row[0] for row in rows], rows[0][1]
    command = [sys.executable, "-m", "plm_scaling.slurm.probe_gpus", str(gpus)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_OF_GPUS)
    except subprocess.TimeoutExpired:
        node.error = f"not measured within {SECONDS_OF_GPUS:.0f} s, the import of PyTorch included"
        return
    if done.returncode:
        node.error = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return
    measured = re.fullmatch(r"(\S+) TFLOP/s(?: (\S+) GB/s)?", done.stdout.strip().splitlines()[-1])
    if measured:
        node.tflops = float(measured[1])
        node.nccl_gbytes_per_second = float(measured[2]) if measured[2] else None


def write(out: Path, node: Node) -> None:
    with atomic(out) as part:
        part.write_text(dumps(asdict(node), indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
