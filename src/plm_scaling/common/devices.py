"""Start a command on GPUs of its own, on a machine where no scheduler assigns them.

python -m plm_scaling.common.devices 2 torchrun …
python -m plm_scaling.common.devices 2 --after results/demo/runs/CELL/lock torchrun …

waits until two of the machine's GPUs are free, locks them, and becomes the command, which sees no
others; where there are no GPUs it just starts the command. The kernel releases the locks when the
command ends, however that happens. Jobs are served in turn: the first in the queue keeps what
becomes free until it has enough, and nobody overtakes it. With `--after` it first waits, without
GPUs, while another process holds the lock of a file: a copy of the same job that still runs.
Whoever waits ends with its parent; the command does not.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from plm_scaling.common import lock
from plm_scaling.common.errors import PlmScalingError, TrainError
from plm_scaling.common.gpus import FOLDER, own_gpus, usable, visible_gpus
from plm_scaling.common.program import end_with_parent
from plm_scaling.common.progress import many

WAIT_SECONDS = 1.0


def reserve(gpus: Sequence[str], count: int) -> list[str]:
    """`count` of these GPUs, locked until this process and those that replace it end.

    Raises `TrainError` for too few, `LockError`.
    """
    if count > len(gpus):
        raise TrainError(
            f"the job is divided over {many(count, 'GPU')}, this machine has "
            f"{len(gpus)} for it; set machine.gpus_per_node and machine.max_gpus in "
            "the config, or CUDA_VISIBLE_DEVICES"
        )
    # A queue for each GPU, and all jobs stand in theirs in one order, so that none wait for each
    # other, and jobs with other GPUs do not wait for these.
    queues = [_next_in_turn(gpu) for gpu in sorted(gpus)]
    taken: dict[str, int] = {}
    said = False
    while not _collect(usable(gpus, count), count, taken):
        if not said:
            held = [f"{gpu} by {lock.holder(FOLDER / gpu)}" for gpu in gpus if gpu not in taken]
            print(
                f"waits for {count} of {many(len(gpus), 'GPU')}, has {len(taken)}; the others are "
                f"held: {'; '.join(held)}",
                file=sys.stderr,
            )
            said = True
        time.sleep(WAIT_SECONDS)
    for descriptor in (*taken.values(), lock.share(FOLDER)):
        os.set_inheritable(descriptor, True)
    for descriptor in taken.values():
        lock.let_others_share(descriptor)
    for descriptor in queues:
        os.close(descriptor)
    return list(taken)


def _next_in_turn(gpu: str) -> int:
    path = FOLDER / f"{gpu}.queue"
    descriptor = lock.take_if_free(path)
    if descriptor is not None:
        return descriptor
    print(f"waits for GPUs behind {lock.holder(path)}", file=sys.stderr)
    return lock.take_in_turn(path)


def _collect(gpus: Sequence[str], count: int, taken: dict[str, int]) -> bool:
    """Lock more of `gpus`, those that are free, up to `count`; whether these are all."""
    for gpu in taken.keys() - set(gpus):  # set aside meanwhile
        os.close(taken.pop(gpu))
    for gpu in gpus:
        if len(taken) < count and gpu not in taken:
            descriptor = lock.take_if_free(FOLDER / gpu)
            if descriptor is not None:
                taken[gpu] = descriptor
    return len(taken) == count


def hold_own_gpus() -> None:
    """Keep the GPUs of this process locked until it ends too.

    For what a launcher starts: torchrun's processes inherit no descriptors, and work on for a while
    when torchrun is killed.
    """
    if gpus := own_gpus():
        for path in (FOLDER, *(FOLDER / gpu for gpu in gpus)):
            lock.share(path)


def _wait_for(path: Path) -> None:
    """Until no other process holds the lock of the file `path`."""
    said = False
    while lock.is_held(path):
        if not said:
            print(f"waits for another run in {path.parent}: {lock.holder(path)}", file=sys.stderr)
            said = True
        time.sleep(WAIT_SECONDS)


def main(arguments: Sequence[str]) -> None:
    """Become the command in `arguments`, whose first word is the number of GPUs."""
    count, *command = arguments
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends who waits without a traceback
    mask = os.umask(0)  # others' jobs lock the same files
    try:
        end_with_parent(signal.SIGTERM)
        if command[0] == "--after":
            _wait_for(Path(command[1]))
            command = command[2:]
        gpus = visible_gpus()
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(reserve(gpus, int(count)))
        end_with_parent(0)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    os.umask(mask)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"error: {command[0]} cannot be started ({error.strerror})")


if __name__ == "__main__":
    main(sys.argv[1:])
