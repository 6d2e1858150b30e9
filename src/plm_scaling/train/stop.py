"""Being asked to stop: the step is finished and a checkpoint saved; run again, it goes on."""

import logging
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

logger = logging.getLogger("plm_scaling")

# SIGTERM is what batch systems and `kill` send; SIGUSR1 and SIGUSR2 are the usual warnings before
# the time of a job is over (Slurm's --signal, Grid Engine's -notify, LSF's -wa).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Not 0, so that the job counts as not done.
EXIT_STOPPED = 75

# Kept free before the end of a Slurm job, beside a step and two checkpoints or evaluations.
MARGIN_SECONDS = 15.0
# A controller that many jobs ask at once may not answer at first.
QUESTIONS = 4
SECONDS_BETWEEN_QUESTIONS = 5.0


class StopRequest:
    """Whether this process was asked to stop, by which signal, or by the end of its Slurm job."""

    def __init__(self, seconds_left: float = math.inf) -> None:
        self.signal: signal.Signals | None = None
        self.end = time.monotonic() + seconds_left

    def job_ends(self, step_seconds: float, pause_seconds: float) -> bool:
        """Whether the job ends too soon for another step and two pauses, which are a checkpoint
        and an evaluation."""
        return time.monotonic() > self.end - MARGIN_SECONDS - step_seconds - 2 * pause_seconds

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, the signals are noted and end nothing."""
    request = StopRequest(seconds_left_of_job())
    before = {number: signal.signal(number, request._note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seconds_left_of_job() -> float:
    """Seconds until the time limit of the Slurm job that this process is in; else infinity.

    Slurm's own warning comes with SIGTERM, KillWait (30 s by default) before SIGKILL, which is
    less than a large checkpoint takes. Its --signal reaches what Snakemake starts inside the job
    as well, and ends it.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not shutil.which("squeue"):
        return math.inf
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    for question in range(QUESTIONS):
        if question:
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
        with suppress(subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return seconds_of(done.stdout.strip())
    logger.warning(
        "squeue does not say when job %s ends: checkpoints are saved as often as the config says, "
        "and not right before",
        job,
    )
    return math.inf


def seconds_of(time_left: str) -> float:
    """Slurm's [days-][[hours:]minutes:]seconds; infinity for anything else, such as UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", time_left)
    if not found:
        return math.inf
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
