"""Why jobs of the last Snakemake run failed, one line each, from its events and the jobs' logs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.files import tail
from plm_scaling.runs.job_events import FailedJob, jobs_that_failed
from plm_scaling.slurm.endings import ENDED_BY_SLURM

# An error of a program of ours: in its log, on the terminal, or of its arguments.
OWN_ERROR = re.compile(r"^(?:\S+ \S+ ERROR |\S+\.py: )?(error: .*)$", re.MULTILINE)
# The exception at the end of a traceback, but those that only say that another program failed.
EXCEPTION = re.compile(
    r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*"
    r"(?!\S*(?:RuleException|CalledProcessError|WorkflowError|ChildFailedError)\b)(\S.*)$",
    re.MULTILINE,
)
# The message of a shell, Python or srun about a program that cannot be started.
NOT_STARTED = re.compile(
    r"^((?:\S*/)?(?:bash|sh|env|python[\d.]*): (?!.*warning: ).*"
    r"|slurmstepd\S*: error: execve\(\): .*)$",
    re.MULTILINE,
)
LOGGED = re.compile(r"^\S+ \S+ (?:DEBUG|INFO|WARNING) ", re.MULTILINE)  # by a program of ours
# What Slurm writes into a job's log, or gives as its state, when it ends the job.
SLURM_LINE = re.compile(r"^(?:slurmstepd|srun|SLURM-job).*$", re.MULTILINE)
CANCELLED = {r"CANCELLED": "cancelled"}  # so ends each other process of a job when one fails
TAIL_BYTES = 1 << 20


@dataclass(frozen=True)
class Failure:
    """A failed job: rule and what it was to make, the reason, and the log to read."""

    rule: str
    output: str
    reason: str
    log: str

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.rule} ({self.output}): {self.reason}" + (f"; {self.log}" if self.log else "")


def failed_jobs(folder: Path) -> list[Failure]:
    """Jobs of the last Snakemake run in `folder` that failed and are not tried again."""
    return [failure_of(folder, job) for job in jobs_that_failed(folder)]


def failure_of(folder: Path, job: FailedJob) -> Failure:
    """Why a job in `folder` failed."""
    logs = _logs(folder, job)
    output = next(iter(job.output), "")
    refused = "" if "SLURM status is" in job.message else _refusal(job.message)
    if refused:
        return Failure(job.rule, output, refused, "")
    reason, log = _reason(job.message, [tail(log, TAIL_BYTES) for log in logs])
    return Failure(job.rule, output, reason, os.path.relpath(logs[log], folder) if logs else "")


def _logs(folder: Path, job: FailedJob) -> list[Path]:
    """The job's logs that exist: of the rule, of the other processes (FILE.RANK), of Slurm.

    Snakemake removes the rule's log before a start, but not those of other processes: one that was
    not written since then is of an earlier start.
    """
    named = [folder / name for name in job.logs]
    ranks = sorted(path for log in named[:1] for path in log.parent.glob(f"{log.name}.[0-9]*"))
    ranks = [log for log in ranks if log.stat().st_mtime >= job.started]
    return [log for log in (*named[:1], *ranks, *named[1:]) if log.is_file()]


def _refusal(message: str) -> str:
    """The executor's message in one line: for a refused submission the message of sbatch; nothing
    where it only says that there are logs."""
    error = re.search(r"The error message was '(.*?)'\.$", message, re.MULTILINE | re.DOTALL)
    if error:
        lines = [line.removeprefix("sbatch: error: ") for line in error[1].splitlines()]
        return f"not submitted: {'; '.join(lines)}"
    return " ".join(message.partition("For further error details")[0].split())


def _reason(message: str, texts: list[str]) -> tuple[str, int]:
    """The reason, and the index of the log that it is from.

    A program's own error comes first; then what Slurm did, unless it only ended the other processes
    of a program that had failed; then why a program without a log could not be started.
    """
    started = any(LOGGED.search(text) for text in texts)
    return (
        _last(OWN_ERROR, texts)
        or _ended_by_slurm(ENDED_BY_SLURM, message, texts)
        or _last(EXCEPTION, texts)
        or _last(NOT_STARTED, [] if started else texts)
        or _ended_by_slurm(CANCELLED, message, texts)
        or _last_message(message, texts)
    )


def _last(pattern: re.Pattern[str], texts: list[str]) -> tuple[str, int] | None:
    """The last match in the first log with one."""
    matches = ((pattern.findall(text), number) for number, text in enumerate(texts))
    return next(((found[-1], number) for found, number in matches if found), None)


def _ended_by_slurm(ends: dict[str, str], message: str, texts: list[str]) -> tuple[str, int] | None:
    for number, text in enumerate([*texts, message]):
        lines = "\n".join(SLURM_LINE.findall(text))
        for pattern, reason in ends.items():
            if re.search(pattern, lines, re.IGNORECASE):
                return reason, min(number, len(texts) - 1)
    return None


def _last_message(message: str, texts: list[str]) -> tuple[str, int]:
    status = re.search(r"SLURM status is: '(\w+)'", message)
    lines = re.findall(r"(?:INFO|WARNING) (.*)", texts[0]) if texts else []
    last = lines[-1] if lines else "no message in its log"
    return (f"{status[1]}: {last}" if status else last), 0 if lines else len(texts) - 1
