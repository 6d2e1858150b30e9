"""Submissions that Slurm refuses for now: they wait, and are tried again."""

import re
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

LONGEST_PAUSE_SECONDS = 300.0

# Limits on how many jobs there may be at a time: of an association or QOS (the names of Slurm's
# reasons), of the whole cluster. Other limits (PerJob, time, partition) refuse this job for ever.
LIMIT = re.compile(
    r"\b(?:Assoc|QOS)(?:Max|Grp)\w*Submit\w*|temporarily unable to accept job|"
    r"Resource temporarily unavailable"
)
# Older versions of Slurm do not name the limit.
UNNAMED_LIMIT = re.compile(r"job submit limit")
NAMED = re.compile(r"\b(?:Assoc|QOS)(?:Max|Grp|Min)\w+")
# The controller is down, busy or being restarted; a partition is closed for maintenance.
UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|[Ss]ocket timed out|Zero Bytes were transmitted|"
    r"Transport endpoint is not connected|Message (?:receive|send) failure|Connection (?:refused|"
    r"timed out|reset)|standby mode|controller (?:is )?busy|[Rr]ate limit|"
    r"Protocol authentication error|partition not available \(inactive or drain\)|does not answer"
)
SBATCH = re.compile(r"^sbatch: (?:error: )?(?:Batch job submission failed: )?", re.MULTILINE)


def waits(message: str, others_queued: bool) -> bool:
    """Whether a submission refused with this message will be accepted later, unchanged.

    `others_queued`: jobs of this study wait or run, and may be what a limit without a name counts.
    """
    if LIMIT.search(message) or UNREACHABLE.search(message):
        return True
    return bool(others_queued and UNNAMED_LIMIT.search(message) and not NAMED.search(message))


def short(message: str) -> str:
    """Slurm's message in a line, without who says it."""
    lines = [line.strip() for line in SBATCH.sub("", message).splitlines()]
    return "; ".join(line for line in lines if line)


@dataclass
class Held:
    """A job that is to be submitted at `due` (seconds since the epoch), and why not at once."""

    job: Any
    reason: str
    due: float
    place: Hashable = None
    """What was refused: account, partition and QOS; None if it was not Slurm that refused."""


class Pauses:
    """How long each place that refused is left alone: twice as long after each refusal."""

    def __init__(self, first_seconds: float) -> None:
        self.first_seconds = first_seconds
        self._refused: dict[Hashable, _Pause] = {}

    def refused(self, place: Hashable, reason: str) -> float:
        """Note a refusal; when the place is asked again (seconds since the epoch)."""
        before = self._refused.get(place)
        seconds = min(before.seconds * 2, LONGEST_PAUSE_SECONDS) if before else self.first_seconds
        self._refused[place] = _Pause(seconds, time.time() + seconds, reason)
        return self._refused[place].due

    def due(self, place: Hashable) -> float:
        """When the place is asked again; 0 if that is now."""
        return self._refused[place].due if place in self._refused else 0.0

    def reason(self, place: Hashable) -> str:
        """Why the place is left alone; empty if it is not."""
        return self._refused[place].reason if self.due(place) > time.time() else ""

    def accepted(self, place: Hashable) -> None:
        self._refused.pop(place, None)

    def ended(self) -> None:
        """A job has ended, so that there may be room: all are asked again at once."""
        for place, pause in self._refused.items():
            self._refused[place] = _Pause(self.first_seconds / 2, 0.0, pause.reason)


@dataclass(frozen=True)
class _Pause:
    seconds: float
    due: float
    reason: str
