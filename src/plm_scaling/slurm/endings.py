"""How a job that did not finish has ended, and whether that costs an attempt.

An attempt is what another start could not mend by itself. A time limit, a lock or a refused
submission costs none, nor does a machine on which a cell never made a step, a few times. An error
of what was asked for ends the job at once: more starts would only hold GPUs.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from plm_scaling.common.files import tail

TRAINING = "train_cell"  # the rule whose jobs resume
# Starts that die before their first step without costing an attempt, since the last step.
FREE_STARTS = 3
TAIL_BYTES = 1 << 16

# The class of an error, at the end of the traceback in a program's log.
ERROR = re.compile(r"^plm_scaling\.common\.errors\.(\w+): (.*)$", re.MULTILINE)
# Errors of the config, the data or the files; the same on each machine.
FINAL = {"ConfigError", "SweepError", "TokenError", "TrainError"}
# A cell before its time limit, or after a signal, which preemption with a GraceTime sends. (Whoever
# gives scancel sends one too, but then Slurm calls the job cancelled.)
STOPS = re.compile(r"(?:is saved and stops|stops before its first step) \((.*)\)$", re.MULTILINE)
# What Slurm writes into a job's log, or gives as its state, when it ends the job.
ENDED_BY_SLURM = {
    r"exceeded (?:job )?memory limit|oom[-_ ]kill|out[-_ ]of[-_ ]memory": "out of memory",
    r"DUE TO TIME LIMIT|'TIMEOUT'": "time limit",
    r"DUE TO PREEMPTION|'PREEMPTED'": "preempted",
    r"DUE TO NODE FAILURE|'NODE_FAIL'": "the node failed",
}
INTERRUPTED = {
    "TIMEOUT": "time limit",
    "DEADLINE": "time limit",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "the node failed",
    "BOOT_FAIL": "the node failed",
}
DIED = {"FAILED", "NODE_FAIL", "BOOT_FAIL"}  # neither cancelled nor ended by a limit
# What Snakemake says in the job when Slurm sends SIGTERM: before preemption, or at a time limit.
SIGNALLED = re.compile(r"^Will exit after finishing currently running jobs", re.MULTILINE)
MEMORY = re.compile(next(iter(ENDED_BY_SLURM)), re.IGNORECASE)

Then = Literal["wait", "resume", "elsewhere", "attempt", "stop"]


@dataclass(frozen=True)
class Ending:
    """What comes after a start that did not finish, and why.

    wait: it is submitted again after a pause; resume: at once; elsewhere: at once, on other hosts;
    none of them costs an attempt. attempt: Snakemake counts it. stop: there are no more attempts.
    """

    then: Then
    reason: str


@dataclass
class History:
    """The starts of a job under this Snakemake.

    `run` is the folder of a cell's run, None for jobs that do not train; `logs` are those of the
    rule. Times are compared with times of the same file only, since clocks of nodes differ.
    """

    run: Path | None
    logs: list[Path]
    resumed: int = 0
    """Times that it was started again without an attempt, by us or by Slurm."""
    died_on: list[str] = field(default_factory=list)
    """Hosts of the starts without a step since the last one with steps."""
    checkpoint: str = ""
    """The newest when it was last queued, by us or by Slurm."""
    progress: str = ""
    """What was then in the file that a cell writes while it makes steps."""
    written: dict[Path, int] = field(default_factory=dict)
    """The logs that there were then, and when each was written, in nanoseconds."""

    def begin(self) -> None:
        """It is queued, by us or by Slurm: what is there now is of earlier starts."""
        self.checkpoint, self.progress = self._newest(), self._progress()
        self.written = {path: path.stat().st_mtime_ns for path in self._all_logs()}

    @property
    def made_steps(self) -> bool:
        """Whether the cell made a step since it was last queued."""
        return self.saved_steps or self._progress() != self.progress

    @property
    def saved_steps(self) -> bool:
        """Whether it resumes further on than it was when last queued."""
        return self._newest() != self.checkpoint

    def log_texts(self) -> list[str]:
        """The ends of the logs that were written since it was last queued."""
        new = [p for p in self._all_logs() if p.stat().st_mtime_ns != self.written.get(p)]
        return [tail(path, TAIL_BYTES) for path in new]

    def _newest(self) -> str:
        found = self.run.glob("checkpoints/step-*") if self.run else ()
        return max((path.name for path in found), default="")  # numbers have as many digits

    def _progress(self) -> str:
        file = self.run / "progress.json" if self.run else None
        return file.read_text(errors="replace") if file and file.is_file() else ""

    def _all_logs(self) -> list[Path]:
        """Those of the rule's other processes (FILE.RANK) too."""
        ranks = [p for log in self.logs for p in sorted(log.parent.glob(f"{log.name}.[0-9]*"))]
        return [path for path in (*self.logs, *ranks) if path.is_file()]


def stopped_because(history: History) -> str:
    """Why the cell saved and stopped, if its last start did."""
    found = [why for text in history.log_texts() for why in STOPS.findall(text)]
    return found[0] if found else ""


def ending(state: str, slurm_log: Path, history: History) -> Ending:
    """How the last start of a job ended, with this state and this log of Slurm's."""
    texts = history.log_texts()
    errors = [found for text in texts for found in ERROR.findall(text)[-1:]]
    for kind, message in errors:
        if kind == "LockError":
            return Ending("wait", message)
        if kind in FINAL:
            return Ending("stop", message)
    if history.run is None:
        return Ending("attempt", state)
    stopped = stopped_because(history) if state == "FAILED" else ""
    reason = INTERRUPTED.get(state) or stopped
    if reason and history.saved_steps:
        return Ending("resume", reason)
    said = "\n".join([*texts, tail(slurm_log, TAIL_BYTES) if slurm_log.is_file() else ""])
    ended_by_slurm = state not in DIED or MEMORY.search(said) or SIGNALLED.search(said)
    if history.made_steps or ended_by_slurm or stopped:
        return Ending("attempt", reason or state)
    if len(history.died_on) < FREE_STARTS:
        return Ending("elsewhere", errors[0][1] if errors else state)
    return Ending("attempt", state)
