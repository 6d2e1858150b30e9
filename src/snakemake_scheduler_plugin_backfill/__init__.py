"""A scheduler for Snakemake on a box of GPUs (`--scheduler backfill`): in order, with backfilling.

Snakemake's own ones start whatever fits: a job of four GPUs waits until no job of one GPU is left.
Here jobs start by priority, of equal ones the largest first. The first that finds too few GPUs has
them kept for it from the time at which, by the run times asked for, enough of them will be free;
what comes after it starts if it ends before, or leaves enough. So do schedulers of clusters.
Jobs without GPUs start as cores allow.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snakemake_interface_scheduler_plugins.base import (  # type: ignore[import-untyped]
    SchedulerBase,
)

GPUS = "gpu"


@dataclass(frozen=True)
class Asked:
    """What a job asks for: resources by name, and hours, infinite if it does not say."""

    job: Any
    priority: int
    resources: Mapping[str, int | str]
    hours: float

    @property
    def gpus(self) -> int:
        return int(self.resources.get(GPUS, 0))

    @classmethod
    def of(cls, job: Any) -> "Asked":
        minutes = job.scheduler_resources.get("runtime")
        hours = minutes / 60 if isinstance(minutes, int) else math.inf
        return cls(job, job.priority, job.scheduler_resources, hours)


def chosen(
    ready: Iterable[Asked], free: Mapping[str, int], running: Iterable[tuple[float, int]]
) -> list[Asked]:
    """Which of the `ready` jobs start now, with these resources `free`.

    `running` has for each running job the hours that are left of it, and its GPUs.
    """
    left, holders = dict(free), list(running)
    started: list[Asked] = []
    kept_from, spare = math.inf, 0  # hours until the first that waits has its GPUs; what is over
    waits = False
    for asked in sorted(ready, key=lambda asked: (-asked.priority, -asked.gpus)):
        fits = all(int(asked.resources.get(name, 0)) <= amount for name, amount in left.items())
        delays = waits and asked.gpus > 0 and asked.hours > kept_from
        if fits and not (delays and asked.gpus > spare):
            started.append(asked)
            left = {name: left[name] - int(asked.resources.get(name, 0)) for name in left}
            holders.append((asked.hours, asked.gpus))
            spare -= asked.gpus if delays else 0
        elif asked.gpus and not waits:
            waits = True
            kept_from, spare = _soonest(asked.gpus, left.get(GPUS, 0), holders)
    return started


def _soonest(gpus: int, free: int, holders: Iterable[tuple[float, int]]) -> tuple[float, int]:
    """In how many hours so many GPUs will be free, and how many more than these."""
    hours = 0.0
    ends = iter(sorted(holders))
    while free < gpus:
        hours, released = next(ends, (math.inf, gpus))
        free += released
    return hours, free - gpus


class Scheduler(SchedulerBase):
    """What Snakemake asks which jobs to start."""

    def __post_init__(self) -> None:
        self._ends: dict[Any, float] = {}  # in hours of the monotonic clock

    def select_jobs(
        self,
        selectable_jobs: Sequence[Any],
        remaining_jobs: Sequence[Any],
        available_resources: Mapping[str, Any],
        input_sizes: Mapping[Any, int],
    ) -> list[Any]:
        """Those of the selectable jobs that start now."""
        now = time.monotonic() / 3600
        running = [
            (max(0.0, self._ends.get(job, math.inf) - now), Asked.of(job).gpus)
            for job in self.dag.workflow.scheduler.running
        ]
        started = chosen(map(Asked.of, selectable_jobs), available_resources, running)
        self._ends |= {asked.job: now + asked.hours for asked in started}
        return [asked.job for asked in started]
