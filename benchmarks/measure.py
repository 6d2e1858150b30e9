"""Run a command and say what it took: CPU-seconds, wall time, peak memory and peak disk.

python -S benchmarks/measure.py OUT.json WATCHED COMMAND [ARGUMENT ...]

A program of its own, with few imports, because the peak RSS that Linux reports for a child is at
least the RSS of the process that started it. OUT.json gets

    exit_code, cpu_s (user and system time of all processes), wall_s,
    rss_mb: largest resident set of any one process (ru_maxrss), mapped files included,
    anonymous_mb: largest sum over the tree of memory that no file backs, sampled each 0.1 s,
    temporary_mb: largest size of the folder WATCHED, sampled each second.

Mapped pages of a database can be dropped when memory is short; anonymous memory cannot. MB = 10⁶.
"""

import json
import os
import sys
import threading
import time

INTERVAL_S = 0.1


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208 (pathlib is slow to import)
                with open(f"/proc/{parent}/task/{thread}/children") as file:  # noqa: PTH123
                    found.extend(map(int, file.read().split()))
        except OSError:  # it ended meanwhile
            continue
    return found


def anonymous_bytes(pid: int) -> int:
    """RssAnon of one process; 0 if it ended."""
    try:
        with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("RssAnon:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def folder_bytes(folder: str) -> int:
    """Size of the files below a folder; links count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(f"{parent}/{name}")
            except OSError:  # removed meanwhile
                continue
            total += status.st_size * (status.st_mode & 0o170000 == 0o100000)
    return total


def main(out: str, watched: str, command: list[str]) -> int:
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    memory = disk = 0
    ended = threading.Event()

    def sample() -> None:
        nonlocal memory, disk
        looked = 0.0
        while not ended.wait(INTERVAL_S):
            memory = max(memory, sum(map(anonymous_bytes, tree(pid))))
            if time.monotonic() > looked + 1:
                disk = max(disk, folder_bytes(watched))
                looked = time.monotonic()

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, status, usage = os.wait4(pid, 0)
    ended.set()
    sampler.join()
    exit_code = os.waitstatus_to_exitcode(status)
    result = {
        "exit_code": exit_code,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - start,
        "rss_mb": usage.ru_maxrss * 1024 / 1e6,
        "anonymous_mb": memory / 1e6,
        "temporary_mb": max(disk, folder_bytes(watched)) / 1e6,
    }
    with open(out, "w") as file:  # noqa: PTH123
        json.dump(result, file)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
