"""Progress of long work: share done, rate and time left, on one log line every few seconds."""

import logging
import time

logger = logging.getLogger("plm_scaling")


class Progress:
    """Report `done` of `total` units at most every `every_seconds`.

    `label` names the stage as the reader of the terminal knows it, `unit` what is counted. `done`
    units were done before (by a process that was stopped); they do not count in the rate. With a
    `total` of 0 (not known) there is neither share nor time left.
    """

    def __init__(
        self, label: str, total: float, unit: str, every_seconds: float = 5.0, done: float = 0.0
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.every_seconds = every_seconds
        self.done = self._before = done
        self._start = self._last = time.monotonic()

    def add(self, amount: float) -> None:
        """Count `amount` more units and report when it is time."""
        self.done += amount
        now = time.monotonic()
        if now - self._last >= self.every_seconds:
            self._last = now
            rate = (self.done - self._before) / (now - self._start)
            if not self.total:
                logger.info(
                    "[%s] %s %s, %s %s/s",
                    self.label,
                    short_number(self.done),
                    self.unit,
                    short_number(rate),
                    self.unit,
                )
                return
            logger.info(
                "[%s] %.0f %% of %s %s, %s %s/s, %s left",
                self.label,
                100 * self.done / self.total,
                short_number(self.total),
                self.unit,
                short_number(rate),
                self.unit,
                short_time((self.total - self.done) / rate if rate else float("inf")),
            )


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
    if not seconds < float("inf"):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
