"""One process at a time writes somewhere, on whichever node it runs.

The kernel (on network file systems their server) lets go of a lock when the last process that holds
it ends, however that happens: nothing is left to be cleaned up after a kill.
"""

import fcntl
import os
import platform
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from plm_scaling.common.errors import LockError
from plm_scaling.common.progress import logger

NAME = "lock"  # of the file in a folder in which one process at a time works
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
    return _take(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def take_in_turn(path: Path) -> int:
    """The same, however long others hold it; the kernel wakes those who wait in their order."""
    descriptor = _take(path, fcntl.LOCK_EX)
    assert descriptor is not None  # only who does not wait finds it held
    return descriptor


def share(path: Path) -> int:
    """A descriptor that keeps others from taking the lock of a file or folder that exists.

    Several processes can share a lock, and the one who took it lets them (`let_others_share`).
    A folder of which somebody shares the lock is left alone by systemd's cleaning of /tmp.
    """
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # it is being taken, or cannot be locked: `take_if_free` said so
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def let_others_share(descriptor: int) -> None:
    """Go on holding a lock that was taken, with processes that `share` it.

    For a moment it is free: to be called where nobody else takes it.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


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


def _take(path: Path, how: int) -> int | None:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, how)
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
    return f"{which}process {os.getpid()} on {platform.node()}, since {since} ({_user()})"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container
        return f"user {os.getuid()}"
