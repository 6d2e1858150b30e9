"""One process at a time writes somewhere, on whichever node it runs.

The kernel (on network file systems their server) lets go of a lock when the last process that holds
it ends, however that happens: nothing is left to be cleaned up after a kill.
"""

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from plm_scaling.common.errors import LockError
from plm_scaling.common.progress import logger

WAIT_SECONDS = 10.0  # longer than what a killed process started takes to end


def take(path: Path) -> int:
    """A descriptor that holds the lock of the file `path` until it is closed.

    Processes that inherit it hold the lock too. Raises `LockError` if nothing can be written there,
    or if another process holds the lock and does not end within `WAIT_SECONDS`, with what that one
    wrote about itself.
    """
    end = time.monotonic() + WAIT_SECONDS
    while (descriptor := take_if_free(path)) is None:
        if time.monotonic() > end:
            raise LockError(
                f"another run works in {path.parent}: {holder(path) or 'unknown'}; wait until it "
                "ends, or end it"
            )
        time.sleep(0.1)
    return descriptor


def take_if_free(path: Path) -> int | None:
    """The same without waiting: None if another process holds the lock."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s): start no second run of it", path, error)
            return descriptor
        if _is_still(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{_self()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)  # its holder has just removed it


def holder(path: Path) -> str:
    """What the process that holds the lock of the file `path` wrote about itself."""
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of the file `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # without locks
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path` while the block runs, and remove the file; see `take`."""
    descriptor = take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise LockError(
            f"{path.parent} cannot be written to ({error.strerror}); make it writable, or choose "
            "another folder"
        ) from error


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _self() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    since = datetime.now(UTC).isoformat(timespec="seconds")
    which = f"Slurm job {job}, " if job else ""
    return f"{which}process {os.getpid()} on {platform.node()}, since {since}"
