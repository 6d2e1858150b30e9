"""The jobs of the workflow in Slurm's queue, as `squeue` lists them."""

import math
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.slurm_job import mib_of
from plm_scaling.slurm.ask import ask, minutes_of, number, site_limits
from plm_scaling.slurm.journal import WITH, is_job_of
from plm_scaling.slurm.limits import Asked, reason_never_starts

# Job, its name, state, node or reason for waiting, time used, time limit, partition, memory and
# number of its nodes, and the comment of our executor: rule_RULE_wildcards_VALUES makes OUTPUT with
# what stands for its params.
FORMAT = "%A|%j|%T|%R|%M|%l|%P|%m|%D|%k"
# Reasons for waiting that no other job's end removes, and what does. The first that fits counts.
WAITS_FOR_EVER = {
    r"PartitionTimeLimit|\w+Wall\w*PerJob\w*": "it asks for too much time: set its runtime",
    r"PartitionNodeLimit|\w+MaxNode\w*": "it asks for too many nodes: set machine.max_gpus",
    r"\w+Max\w*Per(?:Job|Node)\w*|MaxMemPerLimit": (
        "it asks for more than one job may have: set its mem_mb, or machine.max_gpus"
    ),
    r"BadConstraints|PartitionConfig|QOSMin\w+": (
        "no node has what it asks for: set its constraint, mem_mb or slurm_partition"
    ),
    r"\w+Grp\w*(?<!Run)(?:Minutes|Billing)\w*": (
        "the budget of its account is used up: set another slurm_account"
    ),
    r"Invalid(?:Account|QOS)|(?:Account|QOS)NotAllowed": (
        "its account may not use this partition: set slurm_account or slurm_partition"
    ),
    r"JobHeld\w+|JobHoldMaxRequeue|launch failed requeued held": (
        "it is held: scontrol release lets it go"
    ),
}


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs; `job` is the rule and its wildcards, `where` a node or a reason."""

    number: str
    name: str
    """Slurm's, one for all jobs of a folder."""
    state: str
    where: str
    used: str
    limit: str
    job: str
    output: str
    """The first file that it makes, relative to the folder; "" if that is not known."""
    never_starts: str | None
    """Why it will never start, and what to do; None if it can, or runs."""

    def is_of(self, folder: Path, studies: Collection[str]) -> bool:
        """Whether the Snakemake of this folder submitted it, for one of these studies or for the
        data."""
        made = Path(self.output).parts
        of_other = len(made) > 1 and made[0] == "results" and made[1] not in studies
        return is_job_of(folder, self.name) and not of_other

    @property
    def text(self) -> str:
        """`job 12 running on n1, 3:20 of 1:00:00`, `job 13 pending (Priority)`."""
        if self.state == "RUNNING":
            return f"job {self.number} running on {self.where}, {self.used} of {self.limit}"
        return f"job {self.number} {self.state.lower()} {self.where}"


def queued_jobs() -> list[QueuedJob]:
    """This user's jobs that Snakemake submitted; none where there is no Slurm.

    Raises `SlurmError` when Slurm does not answer.
    """
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--me", "--noheader", "--format", FORMAT]
    jobs = []
    for line in ask(command).splitlines():
        number, name, state, where, used, limit, partition, memory, nodes, comment = line.split(
            "|", 9
        )
        if comment.startswith("rule_"):
            made, _, output = comment.removeprefix("rule_").partition(" makes ")
            output = re.sub(rf"{WITH}\w+$", "", output)
            rule = made.replace("_wildcards_", " ", 1)
            never = _never_starts(state, where, _asked(partition, limit, memory, nodes))
            jobs.append(QueuedJob(number, name, state, where, used, limit, rule, output, never))
    return jobs


def _asked(partition: str, limit: str, memory: str, nodes: str) -> Asked:
    """What the job asks for; nothing of what squeue does not say."""
    mib = mib_of(memory)
    of_job = {
        "runtime": minutes_of(limit),
        "mem_mb": None if math.isinf(mib) else int(mib),
        "nodes": number(nodes),
    }
    known = {name: value for name, value in of_job.items() if value is not None}
    return {"slurm_partition": partition, **known}


def _never_starts(state: str, where: str, asked: Asked) -> str | None:
    reason = where.strip("()") if state == "PENDING" else ""
    for pattern, remedy in WAITS_FOR_EVER.items():
        if re.fullmatch(pattern, reason):
            return reason_never_starts(asked, site_limits()) or remedy
    # Nodes may have less than when the job was accepted.
    return reason_never_starts(asked, site_limits()) if reason == "Resources" else None


def never_starting(jobs: list[QueuedJob]) -> list[str]:
    """A line for each reason, of the jobs of a rule that will never start."""
    alike = defaultdict(list)
    for job in jobs:
        if reason := job.never_starts:
            alike[job.job.split()[0], reason].append(job.number)
    lines = []
    for (rule, reason), numbers in alike.items():
        more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        end = "" if "release" in reason else "; scancel it, and give the same command again"
        lines.append(
            f"will never start: {rule} (job {', '.join(numbers[:5])}{more}): {reason}{end}"
        )
    return lines


def queue_text(jobs: list[QueuedJob]) -> str:
    """One line: how many jobs run and wait, and why."""
    states = Counter(
        "running" if job.state == "RUNNING" else f"{job.state.lower()} {job.where}" for job in jobs
    )
    return "Slurm: " + (", ".join(f"{n} {state}" for state, n in states.most_common()) or "no jobs")
