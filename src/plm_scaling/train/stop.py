"""Being asked to stop: the step is finished and a checkpoint saved; run again, it resumes.

Before its first step a run has nothing to save, and ends without.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from plm_scaling.common import schedulers, slurm_job
from plm_scaling.common.program import end_with_parent
from plm_scaling.common.progress import logger

# SIGTERM is what batch systems and `kill` send; SIGUSR1 and SIGUSR2 are the usual warnings before
# the time of a job is over (Slurm's --signal, Grid Engine's -notify, LSF's -wa).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Not 0, so that the job counts as not done.
EXIT_STOPPED = 75
JOB_ENDS = "its job ends"
"""Why a run stops that no signal asked to."""

STOPS_AT_START = "stops before its first step"

# Kept free before the end of a job, in addition to a step and two checkpoints or evaluations.
MARGIN_SECONDS = 15.0


class StopRequest:
    """Whether this process was asked to stop, by which signal, or by the end of its job."""

    def __init__(self, seconds_left: float = math.inf) -> None:
        self.signal: signal.Signals | None = None
        self.end = time.monotonic() + seconds_left
        self._ends_at_once = False

    @contextmanager
    def at_once(self, what: str, alone: bool) -> Iterator[None]:
        """Within the block a signal ends a process that trains `what` `alone`, with `EXIT_STOPPED`.

        Of several, one that ended would leave the others waiting for it: they agree on it before
        the first step.
        """
        self._ends_at_once = alone
        try:
            self._end_if_asked()
            yield
        except SystemExit:
            logger.info("%s %s (signal %d)", what, STOPS_AT_START, self.signal or 0)
            raise
        finally:
            self._ends_at_once = False

    def job_ends(self, step_seconds: float, pause_seconds: float) -> bool:
        """Whether the job ends too soon for another step and two pauses, which are a checkpoint
        and an evaluation."""
        return time.monotonic() > self.end - MARGIN_SECONDS - step_seconds - 2 * pause_seconds

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._end_if_asked()

    def _end_if_asked(self) -> None:
        if self._ends_at_once and self.signal is not None:
            sys.exit(EXIT_STOPPED)


def follow_launcher() -> None:
    """Ask the kernel for SIGTERM when torchrun ends.

    One that is killed would leave its processes waiting for each other, or training, unseen.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(signal.SIGTERM)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, the signals are handled by `handler`."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


def end(number: int, frame: FrameType | None) -> None:
    """End this process as one that is to be run again: what it did before can be done again."""
    sys.exit(EXIT_STOPPED)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, the signals are noted and end nothing.

    The end of the job is looked up, because Slurm's own warning comes with SIGTERM, KillWait (30 s
    by default) before SIGKILL, which is less than a large checkpoint takes. Its --signal reaches
    what Snakemake starts inside the job as well, and ends it.
    """
    request = StopRequest()
    with handled_by(request._note):
        left = min(slurm_job.seconds_left(), schedulers.seconds_left())
        request.end = time.monotonic() + left
        yield request
