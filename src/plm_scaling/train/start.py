"""A run that makes no step ends, and says what it was waiting for."""

import faulthandler
import logging
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("plm_scaling")

# What ends by itself in the same time says more than the watch does: it has so many seconds.
GRACE_SECONDS = 5.0
# Then the process ends without Python, which a library that hangs may keep from doing anything.
LAST_SECONDS = 60.0


class Start:
    """From the first moment of a run to the end of its first step."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._waits_for = "the other processes"
        self._since = time.monotonic()
        seconds = 60 * minutes + GRACE_SECONDS
        self._watch = threading.Timer(seconds, self._end)
        self._watch.daemon = True
        self._watch.start()
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(
                seconds + LAST_SECONDS, exit=True, file=sys.__stderr__
            )

    def waits_for(self, what: str) -> None:
        """What the run does next, as its reader knows it."""
        self._waits_for = what
        self._since = time.monotonic()

    def over(self) -> None:
        """A step is made, or the run has ended: nothing is watched any more."""
        if self._watch.is_alive():
            self._watch.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        logger.debug("where it waits:\n%s", "".join(traceback.format_stack(main)))
        logger.error(
            "error: no step within %g minutes (training.start_minutes): %s waited %.0f s for %s; "
            "see to that, try another host, or give it more time",
            *(self.minutes, platform.node(), time.monotonic() - self._since, self._waits_for),
        )
        for handler in logger.handlers:
            handler.flush()
        os._exit(1)


@contextmanager
def watched_start(minutes: float) -> Iterator[Start]:
    """Watch the block until it says that the start is over."""
    start = Start(minutes)
    try:
        yield start
    finally:
        start.over()
