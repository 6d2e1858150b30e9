"""Why jobs of the last Snakemake run failed, one line each, from Snakemake's log and theirs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# What Slurm writes into a job's log when it ends the job.
ENDED_BY_SLURM = {
    r"exceeded memory limit|oom[-_ ]kill|out[-_ ]of[-_ ]memory": "out of memory",
    r"DUE TO TIME LIMIT": "time limit",
    r"DUE TO PREEMPTION": "preempted",
    r"DUE TO NODE FAILURE": "the node failed",
    r"CANCELLED": "cancelled",
}
TAIL_BYTES = 65536
QUOTE = 80 * "="  # Snakemake puts it before and after a log that it shows


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
    """Jobs of the last Snakemake run in `folder` that failed and were not started again since."""
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    if not logs:
        return []
    failed: dict[str, dict[str, str]] = {}
    block: dict[str, str] | None = None
    quoted = False
    for line in logs[-1].read_text(errors="replace").splitlines():
        quoted ^= line == QUOTE  # the logs of failed jobs, among them those of inner Snakemakes
        if quoted:
            continue
        if found := re.match(r"Error in (?:rule|group) (.+):$", line):
            block = {"rule": found[1]}
        elif block is not None and (found := re.match(r" {4,}(\w+): (.*)$", line)):
            block.setdefault(found[1], found[2])
            if found[1] == "jobid":
                failed[found[2]] = block
        elif not line.startswith(" "):
            block = None
        if found := re.match(r"(?:Finished jobid: |Trying to restart job )(\d+)", line):
            failed.pop(found[1], None)
    return [_failure(folder, block) for block in failed.values()]


def _failure(folder: Path, block: dict[str, str]) -> Failure:
    names = block.get("log", "").partition(" (check log file")[0].split(", ")
    logs = [folder / name for name in names if name and (folder / name).is_file()]
    texts = [_tail(log) for log in logs]
    output = block.get("output", "").split(", ")[0]
    reason, log = _reason(block.get("message", ""), texts)
    shown = os.path.relpath(logs[log], folder) if logs else ""
    return Failure(block["rule"], output, reason, shown)


def _reason(message: str, texts: list[str]) -> tuple[str, int]:
    """The reason, and the number of the log that it is from."""
    for number, text in enumerate(texts):
        if errors := re.findall(r"ERROR (error: .*)", text):
            return errors[-1], number
    for number, text in enumerate(texts):
        for pattern, reason in ENDED_BY_SLURM.items():
            if re.search(pattern, text, re.IGNORECASE):
                return reason, number
    status = re.search(r"SLURM status is: '(\w+)'", message)
    lines = re.findall(r"(?:INFO|WARNING) (.*)", texts[0]) if texts else []
    said = lines[-1] if lines else "no word in its log"
    return (f"{status[1]}: {said}" if status else said), 0


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        return file.read().decode(errors="replace")
