"""Start a command on GPUs of its own, on a machine where no scheduler assigns them.

python -m plm_scaling.common.devices 2 torchrun …

waits until two of the machine's GPUs are free, locks them, and becomes the command, which sees no
others. The kernel releases the locks when the command ends, however that happens. GPUs are named by
UUID, so that jobs agree to which a scheduler gave some of them, each with numbers of its own.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from plm_scaling.common import lock
from plm_scaling.common.errors import PlmScalingError, TrainError

LOCKS = Path("/tmp/plm-scaling-gpus")  # of all users of the machine, whatever their TMPDIR
WAIT_SECONDS = 1.0


def visible_gpus() -> list[str] | None:
    """UUIDs of the GPUs that this process may use; None without NVIDIA's driver.

    All of the machine, or those that CUDA_VISIBLE_DEVICES names by number or UUID.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=index,uuid", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise TrainError(f"nvidia-smi fails ({listed.stdout.strip()}); see to the NVIDIA driver")
    uuid_of = dict(line.split(", ") for line in listed.stdout.splitlines())
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(uuid_of.values())
    return [uuid_of.get(name.strip(), name.strip()) for name in chosen.split(",") if name.strip()]


def reserve(gpus: Sequence[str], count: int) -> list[str]:
    """`count` of these GPUs, locked until this process and those that replace it end.

    All at once, so that two jobs never wait for each other. Raises `TrainError` if there are fewer,
    `LockError` if no lock can be written.
    """
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
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(reserve(gpus, int(count)))
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    os.umask(mask)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
