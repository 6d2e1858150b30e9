"""The jobs of the workflow in Slurm's queue, as `squeue` lists them."""

import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass

from plm_scaling.common.errors import RunsError

# Job, state, node or reason for waiting, time used, time limit, and the comment of our executor:
# rule_RULE_wildcards_VALUES makes OUTPUT.
FORMAT = "%A|%T|%R|%M|%l|%k"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs; `job` is the rule and its wildcards, `where` a node or a reason."""

    number: str
    state: str
    where: str
    used: str
    limit: str
    job: str

    @property
    def text(self) -> str:
        """`job 12 running on n1, 3:20 of 1:00:00`, `job 13 pending (Priority)`."""
        if self.state == "RUNNING":
            return f"job {self.number} running on {self.where}, {self.used} of {self.limit}"
        return f"job {self.number} {self.state.lower()} {self.where}"


def queued_jobs() -> list[QueuedJob]:
    """This user's jobs that Snakemake submitted; none where there is no Slurm.

    Raises `RunsError` when Slurm does not answer.
    """
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--format", FORMAT]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        message = " ".join((getattr(error, "stderr", None) or str(error)).split())
        raise RunsError(f"Slurm's queue cannot be read: {message}") from error
    jobs = []
    for line in done.stdout.splitlines():
        number, state, where, used, limit, comment = line.split("|", 5)
        if comment.startswith("rule_"):
            rule, _, _ = comment.removeprefix("rule_").partition(" makes ")
            job = rule.replace("_wildcards_", " ", 1)
            jobs.append(QueuedJob(number, state, where, used, limit, job))
    return jobs


def queue_text(jobs: list[QueuedJob]) -> str:
    """One line: how many jobs run and wait, and why."""
    states = Counter(
        "running" if job.state == "RUNNING" else f"{job.state.lower()} {job.where}" for job in jobs
    )
    return "Slurm: " + (", ".join(f"{n} {state}" for state, n in states.most_common()) or "no jobs")
