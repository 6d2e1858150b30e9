"""What becomes of the jobs of a Snakemake run, as its logger says it: .snakemake/jobs.jsonl.

Its first line says what the run has to do. While the run lasts it holds the lock of the file, which
the kernel releases however it ends. The Snakefile adds the writer to Snakemake's logger. So it is
there in every run; a logger plugin would be only where a profile or the command line names it.
"""

import fcntl
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from plm_scaling.common.lock import is_held

FILE = Path(".snakemake/jobs.jsonl")
# Of Snakemake's LogEvent. A job that is started again has a job_info for each start.
STARTED, FAILED, FINISHED = EVENTS = ("job_info", "job_error", "job_finished")
PLANNED = "planned"  # ours: the first line


@dataclass(frozen=True)
class FailedJob:
    """A failed job: its output, the message of its executor (empty if none), and its logs.

    `started` is when Snakemake started or submitted it, in seconds since the epoch, 0 if unknown.
    """

    rule: str
    output: list[str]
    message: str
    logs: list[str]
    started: float


class JobEvents(logging.FileHandler):
    """Writes a line of JSON for each start, failure and end of a job of the graph `dag`.

    Each run has a file of its own: one that began before, with --nolock, goes on in its old one.
    """

    def __init__(self, file: Path, dag: Any) -> None:
        if file.is_file():
            file.unlink()
        super().__init__(file, mode="w")
        self.dag = dag
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self.stream, fcntl.LOCK_EX)  # type: ignore[arg-type]  # it is open
        self.handle(logging.makeLogRecord({"event": PLANNED}))

    @override
    def close(self) -> None:
        """The time of the file is then that of the run's end."""
        if self.stream:
            with suppress(OSError):
                os.utime(self.stream.fileno())
        super().close()

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "event", None) in (PLANNED, *EVENTS)

    def format(self, record: logging.LogRecord) -> str:
        said: Any = record
        if said.event == PLANNED:
            return json.dumps({"event": PLANNED, "time": record.created, "rules": self._rules()})
        number = said.job_id if said.event == FINISHED else said.jobid
        line = {"event": said.event, "time": record.created, "job": number}
        if said.event == STARTED:
            line |= {
                "rule": said.rule_name,
                "output": list(said.output),
                "logs": [*map(str, said.log)],
            }
        if said.event == FAILED:
            line |= {"rule": said.rule_name, "message": said.rule_msg or ""}
            line |= {"output": list(said.output), "logs": [*map(str, said.log)]}
            line["again"] = self._is_tried_again(number)
        return json.dumps(line)

    def _rules(self) -> list[dict[str, Any]]:
        """Of each rule that makes files, in the workflow's order: how many jobs it has to do."""
        jobs = Counter(job.rule.name for job in self.dag.needrun_jobs())
        return [
            {"rule": rule.name, "jobs": jobs[rule.name]}
            for rule in self.dag.workflow.rules
            if rule.output
        ]

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """A disk that is full loses nothing but this."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def _is_tried_again(self, number: int) -> bool:
        job = next(job for job in self.dag.jobs if self.dag.jobid(job) == number)
        return bool(job.attempt <= job.restart_times)


def jobs_that_failed(folder: Path) -> list[FailedJob]:
    """What failed in the last run in `folder` that had jobs to do, and was neither started again
    since, nor will be."""
    failed: dict[int, FailedJob] = {}
    started: dict[int, float] = {}
    for event in job_events(folder):
        if event["event"] == PLANNED:
            continue
        number = event["job"]
        failed.pop(number, None)
        if event["event"] == STARTED:
            started[number] = event["time"]
        elif event["event"] == FAILED and not event["again"]:
            facts = {name: event[name] for name in ("rule", "output", "message", "logs")}
            failed[number] = FailedJob(**facts, started=started.get(number, 0.0))
    return [*failed.values()]


def is_running(folder: Path) -> bool:
    """Whether a Snakemake runs in `folder`."""
    return is_held(folder / FILE)


def job_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of the last run in `folder`: the last is cut while it is written, and where
    the disk was full."""
    file = folder / FILE
    if not file.is_file():
        return
    for line in file.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and (
            event.get("event") == PLANNED or {"event", "job"} <= {*event}
        ):
            yield event
