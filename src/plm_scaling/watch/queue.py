"""Slurm's queue, asked for as seldom as a site's administrators like."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread

from plm_scaling.common.errors import SlurmError
from plm_scaling.runs.queue import QueuedJob, never_starting, queue_text, queued_jobs

EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Queue:
    """The jobs, or why Slurm does not say."""

    jobs: list[QueuedJob] = field(default_factory=list)
    problem: str = ""
    asked: float = field(default_factory=time.time)
    """When, in seconds since the epoch: what was written later is not known to it."""

    def of(self, folder: Path, studies: Collection[str]) -> "Queue":
        """Those that the Snakemake of a folder submitted, for these studies or for the data."""
        return replace(self, jobs=[job for job in self.jobs if job.is_of(folder, studies)])

    @property
    def lines(self) -> list[str]:
        """How many there are, which will never start, or the problem."""
        if not self.jobs:
            return [self.problem] if self.problem else []
        return [queue_text(self.jobs), *never_starting(self.jobs)]


def ask_queue() -> Queue:
    """All jobs of this user's Snakemakes. Asks Slurm, for a minute at most; a machine without it
    has none."""
    asked = time.time()
    try:
        return Queue(queued_jobs(), asked=asked)
    except SlurmError as error:  # also of a machine that only has Slurm's commands
        return Queue(problem=str(error))


class Lately:
    """The queue as it was lately. `now` waits for Slurm where that is too long ago; `known` gives
    what is known, and asks in a thread of its own."""

    def __init__(self) -> None:
        self._queue = Queue()
        self._asked = -EVERY_SECONDS
        self._thread: Thread | None = None
        self._lock = Lock()

    def now(self) -> Queue:
        if time.monotonic() - self._asked >= EVERY_SECONDS:
            self._ask()
        return self._queue

    def known(self) -> Queue:
        with self._lock:
            idle = self._thread is None or not self._thread.is_alive()
            if idle and time.monotonic() - self._asked >= EVERY_SECONDS:
                self._thread = Thread(target=self._ask, daemon=True)
                self._thread.start()
        return self._queue

    def close(self) -> None:
        """Wait until Slurm has answered."""
        if self._thread is not None:
            self._thread.join()

    def _ask(self) -> None:
        self._queue = ask_queue()
        self._asked = time.monotonic()
