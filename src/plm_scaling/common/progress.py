"""The log, and progress of long work in it: share done, rate and time left every few seconds."""

import logging
import math
import time

logger = logging.getLogger("plm_scaling")

EVERY_SECONDS = 5.0


class Progress:
    """Report `done` of `total` units every `EVERY_SECONDS` at most.

    `label` names the stage as the reader of the terminal knows it, `unit` what is counted. `done`
    units were done before (by a process that was stopped); they do not count in the rate. With a
    `total` of 0 (not known) there is neither share nor time left.
    """

    def __init__(self, label: str, total: float, unit: str, done: float = 0.0) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = self._before = done
        self._start = self._last = time.monotonic()

    def add(self, amount: float) -> None:
        """Count `amount` more units and report when it is time."""
        self.done += amount
        now = time.monotonic()
        if now - self._last < EVERY_SECONDS:
            return
        self._last = now
        rate = (self.done - self._before) / (now - self._start)
        so_far, left = short_number(self.done), ""
        if self.total:
            so_far = f"{100 * self.done / self.total:.0f} % of {short_number(self.total)}"
            left = f", {short_time((self.total - self.done) / rate if rate else math.inf)} left"
        speed = f"{short_number(rate)} {self.unit}/s"
        logger.info(f"[{self.label}] {so_far} {self.unit}, {speed}{left}")


def short_number(value: float) -> str:
    """1234567 → '1.23M'; three significant digits."""
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def short_count(value: float) -> str:
    """2833956224 → '2.83B': parameters and tokens as models are named."""
    return short_number(value).replace("G", "B")


def short_time(seconds: float) -> str:
    """3725 → '1:02:05', 65 → '1:05'; '?' when non-finite."""
    if not seconds < math.inf:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
