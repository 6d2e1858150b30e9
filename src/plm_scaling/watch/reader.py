"""Reads the state of studies again and again."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from plm_scaling.common.errors import RunsError, SweepError
from plm_scaling.common.gpus import notes_of_set_aside
from plm_scaling.forecasts.record import Forecast, read_forecast
from plm_scaling.forecasts.running import against_forecasts
from plm_scaling.runs.failures import Failure, failed_jobs
from plm_scaling.runs.job_events import FILE as JOB_EVENTS
from plm_scaling.runs.rule_stages import TRAINING
from plm_scaling.runs.status import CellState, cell_state, with_jobs
from plm_scaling.runs.time_left import look_ahead
from plm_scaling.slurm.journal import lines, ran_on_slurm
from plm_scaling.study.cell import Cell
from plm_scaling.study.sweep_table import read_sweep, read_tuning
from plm_scaling.watch.law_so_far import laws_so_far
from plm_scaling.watch.queue import Queue
from plm_scaling.watch.remember import Remembered
from plm_scaling.watch.state import ENDED, State, Study
from plm_scaling.watch.workflow import read_workflow

STARTED = ("RUNNING", "CONFIGURING")
STILL_WRITES = "COMPLETING"  # a job that has ended, or was cancelled
WITHOUT_SNAKEMAKE = (
    "the last Snakemake here has ended and left jobs in Slurm's queue, which go on: the same "
    "command takes them up and starts the rest, after `snakemake --unlock` if it asks for it"
)


class Reader:
    """Reads the state of a folder again and again: what did not change is not read again.

    `sweeps` gives the sweep.tsv of the studies, `queue` what Slurm says, or said lately.
    """

    def __init__(
        self, folder: Path, sweeps: Callable[[], list[Path]], queue: Callable[[], Queue]
    ) -> None:
        self.folder = folder
        self.remembered = Remembered()
        self._sweeps = sweeps
        self._queue = queue

    def read(self, now: float, laws: bool = True) -> State:
        """The state at `now` (seconds since the epoch), with or without the laws so far."""
        sweeps = self._sweeps()
        queue = Queue()
        if ran_on_slurm(self.folder):
            queue = self._queue().of(self.folder, [sweep.parent.name for sweep in sweeps])
        workflow = read_workflow(self.folder, now)
        failures = self.remembered.of(
            "failures", [self.folder / JOB_EVENTS], lambda: failed_jobs(self.folder)
        )
        studies = [
            self._study(sweep, queue, failures, now, laws) for sweep in sweeps if sweep.exists()
        ]
        damaged = [problem for study in studies for problem in study.damaged]
        return State(
            folder=self.folder,
            workflow=workflow,
            studies=studies,
            failures=failures,
            slurm=queue.lines,
            notes=[
                *([WITHOUT_SNAKEMAKE] if workflow.state == "ended" and self._left(queue) else []),
                *notes_of_set_aside(),
                *lines(self.folder),
                *damaged,
            ],
        )

    def _left(self, queue: Queue) -> bool:
        """Whether jobs go on after the last Snakemake: not those that it waited for or cancelled at
        its end, of which the queue may have been asked before."""
        events = self.folder / JOB_EVENTS
        ended = events.stat().st_mtime if events.exists() else 0.0
        return queue.asked > ended and any(job.state != STILL_WRITES for job in queue.jobs)

    def _study(
        self, sweep: Path, queue: Queue, failures: list[Failure], now: float, laws: bool
    ) -> Study:
        results = sweep.parent
        try:
            cells = self.remembered.of(sweep, [sweep], lambda: read_sweep(sweep))
            tuning = self.remembered.of(("tuning", sweep), [sweep], lambda: read_tuning(sweep))
        except SweepError as error:
            return Study(results, problem=str(error))
        own = queue.of(self.folder, [results.name])
        trains = {job.job.removeprefix(f"{TRAINING} "): job for job in own.jobs}
        failed = {
            Path(failure.output).parent.name: failure.reason
            for failure in failures
            if failure.rule == TRAINING
        }
        forecasts, damaged = self._forecasts(results)
        states = with_jobs(
            [self._cell(cell, results / "runs" / name, now) for name, cell in cells.items()],
            # Also what is suspended, held or stopped: no one of Slurm's many states is neither.
            [n for n, job in trains.items() if job.state not in (*STARTED, STILL_WRITES)],
            [n for n, job in trains.items() if job.state in STARTED],
            failed,
            queue.asked,
        )
        return Study(
            results=results,
            cells=states,
            slurm={name: job.text for name, job in trains.items()},
            against=against_forecasts(results, states),
            ahead=look_ahead(states, results / "estimates.json", now),
            laws=laws_so_far(results, cells, tuning, self.remembered) if laws else [],
            forecasts=forecasts,
            damaged=damaged,
        )

    def _cell(self, cell: Cell, folder: Path, now: float) -> CellState:
        """What a cell ended as does not change; until then it is looked at again."""
        record = folder / "result.json"
        known = self.remembered.of(record, [record], lambda: cell_state(cell, folder, now))
        return known if known.state in ENDED else cell_state(cell, folder, now)

    def _forecasts(self, results: Path) -> tuple[list[Forecast], list[str]]:
        """Those that can be read, by rising compute, and what is wrong with the others."""

        def read(path: Path) -> Forecast | str:
            try:
                return read_forecast(path)
            except (RunsError, OSError) as error:
                return str(error)

        files = sorted((results / "forecasts").glob("*.json"))
        found = [self.remembered.of(("made", file), [file], partial(read, file)) for file in files]
        whole = [made for made in found if isinstance(made, Forecast)]
        damaged = [problem for problem in found if isinstance(problem, str)]
        return sorted(whole, key=lambda made: (made.flops, made.cell)), damaged
