"""What the terminal says of a job that failed: one line instead of Snakemake's."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plm_scaling.runs.failures import Failure, failure_of
from plm_scaling.runs.job_events import FAILED, FailedJob

# That a program failed, which the line says, and that the run therefore did.
SAID_ALREADY = (
    "RuleException:\nCalledProcessError in file",
    "Shutting down, this might take some time.",
    "WorkflowError:\nAt least one job did not complete successfully.",
)


def failure_said(record: logging.LogRecord, folder: Path) -> Failure:
    """The failure of a job in `folder` that Snakemake's logger says in a record."""
    said: Any = record
    job = FailedJob(
        rule=said.rule_name,
        output=[*map(str, said.output)],
        message=said.rule_msg or "",
        logs=[*map(str, said.log)],
        started=0.0,
    )
    return failure_of(folder, job)


def is_of_a_failed_job(record: logging.LogRecord) -> bool:
    """Whether Snakemake says only that a program failed, or that the run did because of it."""
    return str(record.msg).lstrip().startswith(SAID_ALREADY)


class FailuresInALine(logging.Filter):
    """Lets a terminal say in one line why a job failed, and where its log is.

    Snakemake's own block repeats the command and all inputs; its log file still has that. Where
    `printed()`, programs print on the same terminal, and an error that they have said stands above.
    """

    def __init__(self, logger: Any, folder: Path, printed: Callable[[], bool]) -> None:
        super().__init__()
        self.logger, self.folder, self.printed = logger, folder, printed

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) != FAILED:
            return not is_of_a_failed_job(record)
        failure = failure_said(record, self.folder)
        if self.printed() and failure.reason.startswith("error: "):
            self.logger.error(f"{failure.rule} ({failure.output}) failed; {failure.log}")
        else:
            self.logger.error(f"error: {failure.text}")
        return False


def say_failures_in_a_line(logger: Any, folder: Path, printed: Callable[[], bool]) -> None:
    """Put the filter before what writes to a terminal.

    `printed` is asked when a job has failed: while the Snakefile is read, there is no executor yet.
    """
    handlers: Sequence[logging.Handler] = logger.handlers
    for handler in handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.addFilter(FailuresInALine(logger, folder, printed))
