"""The log, and progress of long work in it: share done, rate and time left every few seconds."""

import logging
import math
import time

logger = logging.getLogger("plm_scaling")

EVERY_SECONDS = 5.0
SUFFIXES = {"T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}


class Progress:
    """Report `done` of `total` units every `EVERY_SECONDS` at most.

    `label` names the stage as the reader of the terminal knows it, `unit` what is counted (B is
    bytes). `done`
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
        so_far, left = self._counted(self.done), ""
        if self.total:
            so_far = f"{100 * self.done / self.total:.0f} % of {self._counted(self.total)}"
            left = f", {short_time((self.total - self.done) / rate if rate else math.inf)} left"
        logger.info(f"[{self.label}] {so_far}, {self._counted(rate)}/s{left}")

    def _counted(self, amount: float) -> str:
        return short_bytes(amount) if self.unit == "B" else f"{short_number(amount)} {self.unit}"


def short_number(value: float) -> str:
    """2833956224 → '2.83B', as models are named; three significant digits."""
    value = float(f"{value:.3g}")  # 999.9M is 1B
    for suffix, factor in SUFFIXES.items():
        if value >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def short_bytes(value: float) -> str:
    """8e10 → '80GB'."""
    return short_number(value).replace("B", "G") + "B"


def full_number(text: str) -> float:
    """'6B' → 6e9, '1e21' → 1e21. Raises ValueError where it is no number."""
    factor = SUFFIXES.get(text[-1:], 1.0)
    return float(text if factor == 1 else text[:-1]) * factor


def short_time(seconds: float) -> str:
    """3725 → '1:02:05', 65 → '1:05'; '?' when non-finite."""
    if not seconds < math.inf:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
