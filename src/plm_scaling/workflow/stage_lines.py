"""What the terminal shows of a Snakemake run: a line per stage, its time, and the time left.

What each job says is in its log; what Snakemake says of each job, in .snakemake/log.
"""

import logging
import os
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from plm_scaling.common.program import QUIET
from plm_scaling.common.progress import many, short_time
from plm_scaling.runs.rule_stages import PLACING, STAGE_OF, STAGES, TRAINING
from plm_scaling.workflow.known_times import KnownTimes

EVERY_SECONDS = 30.0
SHARE = 0.02  # of the time so far: a run of weeks fills no screens

EXITS = "Exiting because a job execution failed."  # as the last line says

NO_TARGET = re.compile(
    r"No rule to produce (\S+) \(if you use .*"
)  # Snakemake's advice is for others
LOCKED = "Directory cannot be locked."

OF_JOBS = ("/site-packages/snakemake", "/plm_scaling/slurm/")  # whose programs speak of each job

# Of Snakemake's LogEvent.
PLANNED, STARTED, FINISHED = "run_info", "job_info", "job_finished"
COUNTED, JOB_FAILED, FAILED = "progress", "job_error", "error"


class StageLines:
    """Takes the records of Snakemake's logger, and writes lines to `out`.

    Programs that Snakemake starts from here on say only warnings and errors on the terminal. `dry`:
    the run only plans. `times`: of a run whose jobs are known, with what follows it. `close` ends
    its thread.
    """

    def __init__(self, out: TextIO, dry: bool, times: KnownTimes | None = None) -> None:
        os.environ[QUIET] = "1"
        self._out, self._dry, self._times = out, dry, times
        self._lock = threading.Lock()
        self._began = self._said = time.monotonic()
        self._planned: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._total = 0  # with the targets, which do nothing
        self._jobs: dict[int, str] = {}  # the rules of those that have begun
        self._placed = False  # whether the last job that ended added cells
        self._started: dict[str, float] = {}
        self._stage = ""
        self._results: Path | None = None
        self._report = ""
        self._failed: set[int] = set()  # jobs that have not ended well since
        self._wrong = False  # whether an error was said that is no job's
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def take(self, record: logging.LogRecord) -> None:
        """Say what a reader needs of a record, if anything."""
        said: Any = record
        event = getattr(record, "event", None)
        with self._lock:
            if event == PLANNED:
                self._plan(said.stats)
            elif self._dry and event is not None and event != FAILED:
                return
            elif event == STARTED:
                self._start(said.jobid, said.rule_name, [*map(str, said.output)])
            elif event == FINISHED:
                rule = self._jobs.get(said.job_id, "")
                self._ended[STAGE_OF.get(rule, "")] += 1
                self._failed.discard(said.job_id)
                self._placed = rule == PLACING
                if self._times:
                    self._times.ended(rule)
            elif event == COUNTED:
                self._count(said.total)
            elif event == JOB_FAILED:
                self._fail(record)
            elif event is None or event == FAILED:
                self._message(record)

    def close(self) -> None:
        """End with a line on the whole."""
        self._over.set()
        if self._clock.is_alive():
            self._clock.join()
        if self._dry or not self._total:
            return
        taken, left = short_time(time.monotonic() - self._began), sum((self._left()).values())
        self._total = 0
        if not left and not self._wrong:
            where = f"; the report is {self._report}" if self._report else ""
            then = (
                f"; then {', '.join(self._times.follow)}"
                if self._times and self._times.follow
                else ""
            )
            self._line(f"done in {taken}{where}{then}{self._to_the_end()}")
        else:
            said = [many(len(self._failed), "failure")] if self._failed else []
            said += [f"{many(left, 'job')} not done"] if left else []
            self._line(
                f"stopped after {taken}{': ' * bool(said)}{', '.join(said)}; "
                "the same command continues from here"
            )

    def _plan(self, stats: dict[str, int]) -> None:
        if self._total:
            return  # a dry run says it twice
        jobs = {rule: count for rule, count in stats.items() if rule != "total"}
        self._total = sum(jobs.values())
        for rule, count in jobs.items():
            if rule in STAGE_OF:
                self._planned[STAGE_OF[rule]] += count
        parts = [f"{stage} {self._planned[stage]}" for stage in STAGES if self._planned[stage]]
        if self._times:
            self._times.plan(jobs)
        self._line(f"jobs: {', '.join(parts) or 'none'}{self._to_the_end()}")
        if not self._dry:
            self._clock.start()

    def _start(self, job: int, rule: str, output: list[str]) -> None:
        stage = STAGE_OF.get(rule, "")
        if job not in self._jobs:
            self._begun[stage] += 1
        self._jobs[job] = rule
        if stage and self._begun[stage] > self._planned[stage]:
            self._planned[stage] += 1  # a cell that was placed just now; Snakemake counts it later
            self._total += 1
        self._started.setdefault(stage, time.monotonic())
        if rule == TRAINING:
            self._results = Path(output[0]).absolute().parents[2]
        elif rule in ("make_report", "make_published_report"):
            self._report = str(Path(output[0]).absolute())
        if stage:
            self._stage = stage

    def _count(self, total: int) -> None:
        """After a job: cells of a stage of the sweep that was placed before add to the total."""
        self._planned["train"] += total - self._total
        self._total = total
        for stage, planned in self._planned.items():
            more = self._placed and stage == "train"  # its cells are not counted yet
            if 0 < planned == self._ended[stage] and stage in self._started and not more:
                taken = short_time(time.monotonic() - self._started.pop(stage))
                self._line(f"[{stage}] {many(planned, 'job')} in {taken}{self._to_the_end()}")

    def _fail(self, record: logging.LogRecord) -> None:
        from plm_scaling.runs.terminal import failure_said

        self._failed.add(record.__dict__["jobid"])
        self._line(f"failed: {failure_said(record, Path()).text}")

    def _message(self, record: logging.LogRecord) -> None:
        """What is no event: of Snakemake and its executors only warnings and errors, but not that
        of a job."""
        from plm_scaling.runs.terminal import is_of_a_failed_job

        text = record.getMessage()
        ours = not any(place in record.pathname for place in OF_JOBS)
        if text in ("", "None") or text.startswith(EXITS) or is_of_a_failed_job(record):
            return
        self._wrong |= text.startswith("error: ") or getattr(record, "event", None) == FAILED
        if text.startswith("Nothing to be done"):
            self._line("nothing to do: what was asked for is there and up to date")
        elif ours or record.levelno >= logging.WARNING:
            self._line(_without_place(text))

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            now = time.monotonic()
            if now - self._said >= max(EVERY_SECONDS, SHARE * (now - self._began)):
                with self._lock:
                    self._progress()

    def _progress(self) -> None:
        stage = self._stage
        if stage not in self._started:
            self._said = time.monotonic()
            return
        taken = short_time(time.monotonic() - self._started[stage])
        done, planned = self._ended[stage], self._planned[stage]
        until = self._to_the_end() or self._until()
        self._line(f"[{stage}] {done} of {many(planned, 'job')} in {taken}{until}")

    def _to_the_end(self) -> str:
        """When all will have ended; empty where the times of its jobs are not known."""
        left = self._times.left(time.monotonic() - self._began) if self._times else 0.0
        return f"; {short_time(left)} to the end" if round(left) else ""

    def _until(self) -> str:
        """When the training will have ended, as `status` says it; empty before its first cell."""
        from plm_scaling.common.errors import PlmScalingError
        from plm_scaling.runs.status import cell_states
        from plm_scaling.runs.time_left import time_left
        from plm_scaling.sweep.order import read_estimates

        if self._results is None or self._stage != "train":
            return ""
        try:
            states = cell_states(self._results / "sweep.tsv", self._results / "runs")
            left = time_left(
                states, read_estimates(self._results / "estimates.json"), now=time.time()
            )
        except (PlmScalingError, OSError):  # half a file of a cell that has just started
            return ""
        if left is None:
            return ""
        finish = left.finish  # not known in the moment between two cells
        if finish is None and left.usual:
            finish = 3600 * left.process_hours / left.usual
        return "" if finish is None else f", about {short_time(finish)} left"

    def _left(self) -> dict[str, int]:
        return {stage: count - self._ended[stage] for stage, count in self._planned.items()}

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        print(text, file=self._out, flush=True)


def _without_place(text: str) -> str:
    """What Snakemake says of an exception, without the exception and the place in a program."""
    if asked := NO_TARGET.match(text):
        return f"error: no target or file {asked[1]}; `plm-scaling run --help` names the targets"
    if LOCKED in text:
        return (
            "error: another Snakemake runs in this folder, or was killed there; if none runs any "
            "more: `plm-scaling run STUDY -- --unlock` or `snakemake --unlock`"
        )
    first, *rest = text.splitlines()
    if not rest or not re.fullmatch(r"\w+(Error|Exception):", first):
        return text
    said = [line.strip() for line in rest if not re.match(r'\s*File "', line)]
    return f"error: {' '.join(said)}"
