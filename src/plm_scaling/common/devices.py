"""Start a command on GPUs of its own, on a machine where no scheduler assigns them.

python -m plm_scaling.common.devices 2 torchrun …

waits until two of the machine's GPUs are free, locks them, and becomes the command, which sees no
others; where there are no GPUs it just starts the command. The kernel releases the locks when the
command ends, however that happens. GPUs are named by UUID, so that jobs agree to which a scheduler
gave some of them, each with numbers of its own.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from plm_scaling.common import lock
from plm_scaling.common.errors import PlmScalingError, TrainError

LOCKS = Path("/tmp/plm-scaling-gpus")  # of all users of the machine, whatever their TMPDIR
WAIT_SECONDS = 1.0


def query(property: str) -> list[str]:
    """A property of each GPU of the machine (`nvidia-smi --help-query-gpu`); none without one."""
    command = ["nvidia-smi", f"--query-gpu={property}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use; none without NVIDIA's driver.

    All of the machine, or those that CUDA_VISIBLE_DEVICES names by number or by the beginning of
    their UUID; parts of a GPU (MIG) by theirs. Raises `TrainError` for a name that fits none.
    """
    uuids = query("uuid")  # without any, the command finds no GPU either, and says so
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = uuids if chosen is None else [name.strip() for name in chosen.split(",")]
    shown = itertools.takewhile(lambda name: name not in ("", "-1"), names)
    return list(dict.fromkeys(_uuid_of(name, uuids) for name in shown))


def _uuid_of(name: str, uuids: Sequence[str]) -> str:
    if name.startswith("MIG-"):
        return name
    if name.isdigit() and int(name) < len(uuids):
        return uuids[int(name)]
    found = [uuid for uuid in uuids if uuid.startswith(name)]
    if len(found) != 1:
        raise TrainError(
            f"CUDA_VISIBLE_DEVICES names {name!r}, which is none of the GPUs of this machine "
            f"({', '.join(uuids) or 'none'}); correct it"
        )
    return found[0]


def reserve(gpus: Sequence[str], count: int) -> list[str]:
    """`count` of these GPUs, locked until this process and those that replace it end, all at once,
    so that two jobs never wait for each other. Raises `TrainError` for too few, `LockError`."""
    if count > len(gpus):
        raise TrainError(
            f"the job is divided over {count} GPU(s), this machine has {len(gpus)} for it; set "
            "machine.gpus_per_node and machine.max_gpus in the config, or CUDA_VISIBLE_DEVICES"
        )
    said = False
    while True:
        taken: dict[str, int] = {}
        for gpu in gpus:
            if len(taken) < count and (descriptor := lock.take_if_free(LOCKS / gpu)) is not None:
                taken[gpu] = descriptor
        if len(taken) == count:
            for descriptor in taken.values():
                os.set_inheritable(descriptor, True)
            return list(taken)
        for descriptor in taken.values():
            os.close(descriptor)
        if not said:
            others = [lock.holder(LOCKS / gpu) for gpu in gpus if gpu not in taken]
            print(
                f"waits for {count} of {len(gpus)} GPU(s); {len(taken)} are free, others are held "
                f"by {'; '.join(others)}",
                file=sys.stderr,
            )
            said = True
        time.sleep(WAIT_SECONDS)


def main(arguments: Sequence[str]) -> None:
    """Become the command in `arguments`, whose first word is the number of GPUs."""
    count, *command = arguments
    mask = os.umask(0)  # others' jobs lock the same files
    try:
        gpus = visible_gpus()
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(reserve(gpus, int(count)))
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    os.umask(mask)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"error: {command[0]} cannot be started ({error.strerror})")


if __name__ == "__main__":
    main(sys.argv[1:])
