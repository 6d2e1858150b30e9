"""The log, and progress of long work in it: share done, rate and time left."""

import logging
import math
import shutil
import sys
import time
from typing import TextIO

logger = logging.getLogger("plm_scaling")

EVERY_SECONDS = 30.0
EVERY_SECONDS_ON_A_TERMINAL = 1.0
ERASE = "\r\033[K"
SUFFIXES = {"T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}


class OneLine(logging.StreamHandler[TextIO]):
    """Writes to a terminal; progress takes the place of the progress before it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.terminator = ""
        self._shown = False

    def format(self, record: logging.LogRecord) -> str:
        """The message, in place of the progress shown last."""
        text = super().format(record)
        before, self._shown = ERASE if self._shown else "", hasattr(record, "progress")
        if not self._shown:
            return f"{before}{text}\n"
        return before + text[: shutil.get_terminal_size().columns - 1]

    def end_line(self) -> None:
        """What is written next is on a line of its own."""
        if self._shown:
            self._shown = False
            self.stream.write("\n")
            self.flush()


def end_line() -> None:
    """End the line of progress, where one is shown, before other text."""
    for handler in logger.handlers:
        if isinstance(handler, OneLine):
            handler.end_line()


class Progress:
    """Report `done` of `total` units: every `EVERY_SECONDS` at most, or where a `OneLine` shows it
    `EVERY_SECONDS_ON_A_TERMINAL`; and when all is done, if that was not at once.

    `label` names the stage as the reader of the terminal knows it, `unit` what is counted (B is
    bytes). `done` units were done before (by a process that was stopped); they do not count in the
    rate. With a `total` of 0 (not known) there is neither share nor time left, and `end_line` is
    for who uses it to call.
    """

    def __init__(self, label: str, total: float, unit: str, done: float = 0.0) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = self._before = done
        self._start = self._last = time.monotonic()
        self._reported = False
        live = any(isinstance(handler, OneLine) for handler in logger.handlers)
        self._every = EVERY_SECONDS_ON_A_TERMINAL if live else EVERY_SECONDS

    def add(self, amount: float) -> None:
        """Count `amount` more units and report when it is time."""
        self.done += amount
        now = time.monotonic()
        is_last = self._reported and 0 < self.total <= self.done
        if now - self._last < self._every and not is_last:
            return
        self._last, self._reported = now, not is_last
        rate = self._rate(now)
        so_far, left = self._counted(self.done), ""
        if self.total:
            to_do = max(0.0, self.total - self.done)  # totals may be estimates
            so_far = f"{100 * (1 - to_do / self.total):.0f} % of {self._counted(self.total)}"
            left = f", {short_time(to_do / rate if rate else math.inf)} left"
        logger.info(
            f"[{self.label}] {so_far}, {self._counted(rate)}/s{left}", extra={"progress": True}
        )
        if is_last:
            end_line()

    def seconds(self, amount: float) -> float:
        """How long so many units take at the rate so far; infinity before the first."""
        rate = self._rate(time.monotonic())
        return amount / rate if rate else math.inf

    def _rate(self, now: float) -> float:
        return (self.done - self._before) / (now - self._start) if now > self._start else 0.0

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


def many(number: int, what: str) -> str:
    """'1 budget', '43 budgets', '1,000 cells'."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
