"""Being asked to stop: the step is finished and a checkpoint saved; run again, it goes on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGTERM is what batch systems and `kill` send; SIGUSR1 and SIGUSR2 are the usual warnings before
# the time of a job is over (Slurm's --signal, Grid Engine's -notify, LSF's -wa).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. Not 0, so that the job counts as not done.
EXIT_STOPPED = 75


class StopRequest:
    """Whether this process was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, the signals are noted and end nothing."""
    request = StopRequest()
    before = {number: signal.signal(number, request._note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
