"""When each cell of a sweep runs on so many GPUs: a simulated scheduler."""

import heapq
import math
from bisect import insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from plm_scaling.common.errors import SweepError

LOOKED_AT = 100  # waiting jobs that may start, from the first on: as many as Slurm tries


@dataclass(frozen=True)
class Job:
    """A cell as a scheduler sees it: so many GPUs (CPU backend: processes) for so many hours, once
    the cell `after` has ended."""

    gpus: int
    hours: float
    after: str | None = None


def simulate(
    jobs: Mapping[str, Job], gpus: int, gpus_per_node: int
) -> dict[str, tuple[float, float]]:
    """Hours from now at which each job starts and ends, by name, on `gpus` GPUs.

    Jobs start in the order of `jobs` as GPUs are free: up to a node's within one node, more as
    whole nodes. The first that finds too few has the nodes kept for it that are free soonest; what
    comes after it starts there only if it ends by then, elsewhere at once (backfilling). A job
    whose `after` is not in `jobs` waits for none. Raises `SweepError` for a job that never fits.
    """
    machine = _Machine(gpus, gpus_per_node)
    names = list(jobs)
    followers: dict[str, list[int]] = {}
    ready = []
    for number, (name, job) in enumerate(jobs.items()):
        machine.check(name, job.gpus)
        if job.after is not None and job.after in jobs:
            followers.setdefault(job.after, []).append(number)
        else:
            ready.append(number)
    times: dict[str, tuple[float, float]] = {}
    now = 0.0
    while ready or machine.running:
        kept: Collection[int] = ()
        until = math.inf
        for number in ready[:LOOKED_AT]:
            if not machine.idle:
                break
            name, job = names[number], jobs[names[number]]
            end = now + job.hours
            if machine.start(name, job.gpus, end, () if end <= until else kept):
                times[name] = (now, end)
                ready.remove(number)
            elif not kept:
                kept, until = machine.soonest(job.gpus, now)
        now, ended = machine.next_end()
        for name in ended:
            for number in followers.get(name, ()):
                insort(ready, number)
    return times


class _Machine:
    """Nodes with their free GPUs, and what runs on them."""

    def __init__(self, gpus: int, per_node: int) -> None:
        whole, rest = divmod(gpus, per_node)
        self.per_node = per_node
        self.free = [per_node] * whole + ([rest] if rest else [])
        self.whole = whole
        self.idle = self.gpus = gpus
        self.running: list[tuple[float, str, dict[int, int]]] = []
        """A heap of (end, name, GPUs by node)."""

    def check(self, name: str, gpus: int) -> None:
        """Raise `SweepError` if the machine never has `gpus` for one job."""
        most = self.whole * self.per_node or self.gpus
        if gpus > most:
            raise SweepError(
                f"cell {name} takes {gpus} GPUs, of which this machine has {most}; lower "
                "machine.max_gpus"
            )

    def start(self, name: str, gpus: int, end: float, kept: Collection[int]) -> bool:
        """Start a job on nodes that are not `kept`, if enough GPUs are free there."""
        nodes = [n for n, free in enumerate(self.free) if free and n not in kept]
        if gpus <= self.per_node:
            room = [n for n in nodes if self.free[n] >= gpus]
            taken = {min(room, key=self.free.__getitem__): gpus} if room else {}
        else:
            need = -(-gpus // self.per_node)
            room = [n for n in nodes if self.free[n] == self.per_node][:need]
            taken = dict.fromkeys(room, self.per_node) if len(room) == need else {}
        for node, count in taken.items():
            self.free[node] -= count
            self.idle -= count
        if taken:
            heapq.heappush(self.running, (end, name, taken))
        return bool(taken)

    def soonest(self, gpus: int, now: float) -> tuple[set[int], float]:
        """The nodes on which `gpus` are free first, and when."""
        ends: list[list[tuple[float, int]]] = [[(now, free)] for free in self.free]
        for end, _, taken in self.running:
            for node, count in taken.items():
                ends[node].append((end, count))
        when = []
        for node, released in enumerate(ends):
            free = 0
            for end, count in sorted(released):
                free += count
                if free >= min(gpus, self.per_node):
                    when.append((end, node))
                    break
        when = sorted(when)[: -(-gpus // self.per_node)]
        return {node for _, node in when}, when[-1][0]

    def next_end(self) -> tuple[float, list[str]]:
        """When the next jobs end, and which; their GPUs are free again."""
        now, ended = self.running[0][0], []
        while self.running and self.running[0][0] <= now:
            _, name, taken = heapq.heappop(self.running)
            ended.append(name)
            for node, count in taken.items():
                self.free[node] += count
                self.idle += count
        return now, ended
