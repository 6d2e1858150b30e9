"""When a sweep that runs will be done, and when each budget's last cell will.

What is left is put through a simulated scheduler on the GPUs in use. Hours are measured where a
cell has a rate, else those estimated, times what cells of the nearest size took of theirs.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import short_number, short_time
from plm_scaling.runs.status import CellState
from plm_scaling.study.cell import Cell
from plm_scaling.sweep.cost import evaluation_share
from plm_scaling.sweep.order import Estimates, curves, read_estimates
from plm_scaling.sweep.schedule import Job, simulate

WINDOW_SECONDS = 86400.0  # what was in use on the mean of a day is what a site gives
MANY_DAYS = 2  # from how many on a time left is said in days


@dataclass(frozen=True)
class TimeLeft:
    """What is left of a sweep; `finish` and `budgets` (by FLOPs) in seconds from now."""

    process_hours: float
    in_use: int
    """Processes (on GPUs: GPUs) of the cells that run, or whose job starts them."""
    usual: float
    """The mean of the last day, or since the first start."""
    finish: float | None
    """None while no cell runs."""
    budgets: dict[float, float | None]
    """When the last cell from scratch of each budget ends; 0 if it has, None while no cell runs."""


def time_left(states: Sequence[CellState], estimates: Estimates, now: float) -> TimeLeft | None:
    """What is left at `now` (seconds since the epoch); None where a cell has no estimate."""
    jobs = estimates.jobs
    if any(state.cell not in jobs for state in states):
        return None
    ratios = _ratios(states, jobs)
    going_on = [s for s in states if s.flops_left or s.state == "running"]
    left = {s.cell: _left(s, jobs[s.cell], ratios) for s in going_on}
    running = {s.cell: left[s.cell] for s in going_on if s.state in ("running", "starting")}
    in_use = sum(job.gpus for job in running.values())
    usual = _mean_use(states, jobs, now)
    ends: dict[str, float] = {}
    if in_use:
        # Those that run are on their nodes already: the large ones first, so that all find theirs.
        first = dict(sorted(running.items(), key=lambda item: -item[1].gpus))
        then = {name: left[name] for name in jobs if name in left}
        times = simulate(first | then, *_machine(left, max(in_use, round(usual)), estimates))
        ends = {name: end for name, (_, end) in times.items()}

    def last(names: Sequence[str]) -> float | None:
        names = [name for name in names if name in left]
        if names and not in_use:
            return None
        return 3600 * max((ends[name] for name in names), default=0.0)

    cells = {state.cell: state.plan for state in states}
    return TimeLeft(
        process_hours=sum(job.gpus * job.hours for job in left.values()),
        in_use=in_use,
        usual=usual,
        finish=last(list(left)),
        budgets={budget: last(names) for budget, names in curves(cells).items()},
    )


def _machine(left: Mapping[str, Job], in_use: int, estimates: Estimates) -> tuple[int, int]:
    """GPUs for what is left, and those of a node."""
    widest = max(job.gpus for job in left.values())
    gpus = max(in_use, widest)
    if estimates.gpu is None:
        return gpus, gpus
    node = estimates.gpus_per_node
    # Where cells take whole nodes, the rest of one in use is being kept for the next.
    return (-(-gpus // node) * node if widest >= node else gpus), node


def _ratios(states: Sequence[CellState], jobs: Mapping[str, Job]) -> dict[int, float]:
    """Measured over estimated process-hours by size (parameters), of the cells that have a rate."""
    sums: dict[int, list[float]] = {}
    for state in states:
        if (hours := _measured_hours(state)) is not None:
            job, both = jobs[state.cell], sums.setdefault(state.plan.n_params, [0.0, 0.0])
            both[0] += hours * (state.processes or job.gpus)
            both[1] += job.hours * job.gpus
    return {size: measured / estimated for size, (measured, estimated) in sums.items()}


def _measured_hours(state: CellState) -> float | None:
    """Of the whole cell at its rate, evaluations included; None without a rate."""
    if not state.tokens_per_second:
        return None
    seconds = state.plan.tokens / state.tokens_per_second
    return seconds * (1 + evaluation_share(state.plan)) / 3600


def _left(state: CellState, job: Job, ratios: Mapping[int, float]) -> Job:
    """What a cell still holds, and how long."""
    share = state.flops_left / state.plan.flops
    measured = _measured_hours(state)
    if state.state == "running" and measured is not None:
        return replace(job, gpus=state.processes or job.gpus, hours=share * measured)
    return replace(job, hours=share * job.hours * _of_nearest(state.plan, ratios))


def _of_nearest(cell: Cell, ratios: Mapping[int, float]) -> float:
    if not ratios:
        return 1.0
    return ratios[min(ratios, key=lambda size: abs(math.log(size / cell.n_params)))]


def _mean_use(states: Sequence[CellState], jobs: Mapping[str, Job], now: float) -> float:
    """Processes in use on the mean of the last day, or since the first start if that is later."""
    held = [
        (state.started, state.ended or now, state.processes or jobs[state.cell].gpus)
        for state in states
        if state.started is not None and (state.ended or state.state == "running")
    ]
    if not held:
        return 0.0
    begin = max(now - WINDOW_SECONDS, min(started for started, _, _ in held))
    used = sum(
        max(0.0, min(ended, now) - max(started, begin)) * count for started, ended, count in held
    )
    return used / (now - begin) if now > begin else 0.0


@dataclass(frozen=True)
class Ahead:
    """What is known of the rest of a study at `now` (seconds since the epoch)."""

    estimates: Estimates
    left: TimeLeft | None
    """None where a cell has no estimate."""
    now: float

    @property
    def text(self) -> str:
        """In lines, each with its end; empty when all is done."""
        later = _later_text(self.estimates)
        if self.left is None or not self.left.process_hours:
            return later
        unit = self.estimates.gpu or "process"
        hours = f"{short_number(self.left.process_hours)} {unit}-hours left"
        parts = [hours, f"{self.left.in_use} in use"]
        if (finish := self.left.finish) is not None:
            parts.append(f"finished about {_when(finish, self.now)}, in {_long(finish)}")
        lines = [" · ".join(parts)]
        ends = {at: seconds for at, seconds in self.left.budgets.items() if seconds is not None}
        if ends:
            dates = [
                f"{budget:g} {_when(seconds, self.now) if seconds else 'done'}"
                for budget, seconds in ends.items()
            ]
            lines.append("cells from scratch of each budget finished: " + " · ".join(dates))
        return "".join(f"{line}\n" for line in lines) + later

    def to_json(self) -> dict[str, Any] | None:
        """Hours and moments (`finish`, and by budget in FLOPs; seconds since the epoch, 0 of a
        budget that is done); None where nothing is estimated."""
        if self.left is None:
            return None
        return {
            "process_hours": self.left.process_hours,
            "of": self.estimates.gpu or "process",
            "in_use": self.left.in_use,
            "finish": self._moment(self.left.finish),
            "budgets": [
                {"flops": budget, "finish": self._moment(seconds)}
                for budget, seconds in self.left.budgets.items()
            ],
            "stages_to_be_placed": [
                {"stage": int(number), "from_flops": flops}
                for number, flops in self.estimates.later.items()
            ],
        }

    def _moment(self, seconds: float | None) -> float | None:
        return round(self.now + seconds) if seconds else seconds


def look_ahead(
    states: Sequence[CellState], estimates_path: Path, now: float | None = None
) -> Ahead | None:
    """What is left by the estimates of the last start; None if there are none: the study was
    started by an earlier version, or not yet."""
    now = time.time() if now is None else now
    try:
        estimates = read_estimates(estimates_path)
    except SweepError:
        return None
    return Ahead(estimates, time_left(states, estimates, now), now)


def _later_text(estimates: Estimates) -> str:
    """Which stages are not counted, in a line; empty if there is none."""
    if not estimates.later:
        return ""
    stages = ", ".join(
        f"{number} (from {flops:g} FLOPs)" for number, flops in estimates.later.items()
    )
    return f"not counted, to be placed when the cells before have ended: stage {stages}\n"


def _when(seconds: float, now: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(now + seconds))


def _long(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.0f} days" if days >= MANY_DAYS else short_time(seconds)
