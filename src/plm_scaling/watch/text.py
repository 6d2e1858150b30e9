"""States for the terminal."""

from collections.abc import Iterable, Iterator, Sequence

from plm_scaling.common.progress import short_time
from plm_scaling.runs.rule_stages import TRAINING
from plm_scaling.runs.status import status_table
from plm_scaling.watch.places import NO_SWEEP
from plm_scaling.watch.state import State, Study

AT_WORK = ("running", "starting", "queued", "stalled", "stopped", "failed")


def states_text(states: Sequence[State], now: float, rows: int | None = None) -> str:
    """All that is known at `now`, in lines, each with its end; of a study with more than `rows`
    cells only those at work."""
    lines = [line for state in states for line in _studies(state, rows)]
    lines += [line for state in states for line in _jobs(state, now)]
    lines += _once(line for state in states for line in state.slurm)
    lines += _once(line for state in states for line in state.notes)
    lines += [f"failed: {failure.text}" for state in states for failure in state.failures]
    return "".join(f"{line}\n" for line in lines)


def _studies(state: State, rows: int | None) -> Iterator[str]:
    for study in state.studies:
        yield from _study(study, rows)
    if not state.studies:
        yield f"{state.folder}: {NO_SWEEP}"


def _study(study: Study, rows: int | None) -> Iterator[str]:
    yield str(study.results)
    if study.problem:
        yield study.problem
        return
    shown = study.cells
    if rows is not None and len(shown) > rows:
        shown = [state for state in study.cells if state.state in AT_WORK][:rows]
    if hidden := len(study.cells) - len(shown):
        yield f"({hidden} of {len(study.cells)} cells, not at work, are not shown)"
    yield status_table(study.cells, study.slurm, study.against, shown)
    if study.ahead:
        yield from study.ahead.text.splitlines()


def _jobs(state: State, now: float) -> Iterator[str]:
    """The stages and jobs of a run, but for its cells, of which the table speaks."""
    for stage in state.workflow.stages if state.workflow.state == "running" else ():
        if stage.running:
            left = stage.left_seconds
            yield f"stage {stage.name}: {stage.done} of {stage.jobs} jobs done" + (
                "" if left is None else f", about {short_time(left)} left"
            )
    for job in state.workflow.jobs:
        if job.rule != TRAINING:
            since = short_time(now - job.started)
            yield f"running since {since}: {job.rule} ({job.output}) {job.said}".rstrip()


def _once(lines: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(lines)
