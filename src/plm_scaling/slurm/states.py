"""What Slurm says of the jobs of a study: which there are, how each stands, and on which nodes."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from plm_scaling.common.errors import SlurmError
from plm_scaling.slurm.ask import ask

# States of a job that has ended. All others, Slurm's newer ones too, are of a job that goes on.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
}
# In columns, as all versions print them. A list of hosts may be long, or empty.
FIELDS = "JobID:20,State:20,RestartCnt:12,NodeList:1000"
ROW = re.compile(r"^(\d+) +(\w+) +(\d+) *(\S*)", re.MULTILINE)


@dataclass(frozen=True)
class JobState:
    """`state` in Slurm's words, such as RUNNING; `hosts` as Slurm lists nodes: n1, or n[1-3]."""

    state: str
    hosts: str = ""
    restarts: int | None = None
    """Times that Slurm has queued it again; None where it does not say."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def states_of(name: str) -> dict[str, JobState]:
    """All jobs of this name that Slurm still knows, by number.

    It forgets a job MinJobAge seconds after its end. Raises `SlurmError` without an answer.
    """
    command = ["squeue", "--noheader", "--states=all", "--name", name, "--Format", FIELDS]
    rows = ROW.findall(ask(command))
    return {number: JobState(state, hosts, int(times)) for number, state, times, hosts in rows}


def states_from_accounting(numbers: Iterable[str]) -> dict[str, JobState]:
    """Jobs that Slurm itself has forgotten; nothing where there is no accounting."""
    if not shutil.which("sacct"):
        return {}
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--jobs", ",".join(numbers)]
    try:
        lines = ask([*command, "--format", "JobIDRaw,State,NodeList"]).splitlines()
    except SlurmError:
        return {}
    rows = (line.split("|") for line in lines if line.count("|") == 2)
    # It has `CANCELLED by 1000` for CANCELLED.
    return {number: JobState(state.split()[0], hosts) for number, state, hosts in rows}


def own_jobs(name: str) -> dict[str, str]:
    """This user's jobs of this name that wait, run or still write: comment by number.

    Raises `SlurmError` without an answer.
    """
    lines = ask(["squeue", "--noheader", "--me", "--name", name, "--format", "%A|%k"]).splitlines()
    return {number: comment for number, _, comment in (line.partition("|") for line in lines)}


def cancel(number: str) -> None:
    """Have a job cancelled. It is listed until its processes have ended, KillWait at most.

    Raises `SlurmError` where Slurm does not do so.
    """
    ask(["scancel", number])
