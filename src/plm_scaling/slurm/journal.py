"""What the executor knows and Slurm does not, for `plm-scaling status`: .snakemake/slurm.json."""

import time
import uuid
from collections import Counter
from pathlib import Path

from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import many, short_time

FILE = Path(".snakemake/slurm.json")
# A Snakemake that runs writes it each time that it asks Slurm.
OLD_SECONDS = 600.0
SHOWN_JOBS = 3
WITH = " with "  # in the comment of a job, before what stands for its params


class Journal:
    """Waiting submissions, hosts on which starts died, and jobs that began again for free."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.waiting: list[tuple[str, float]] = []
        """Reason and due time (seconds since the epoch) of each."""
        self.died: dict[str, list[str]] = {}
        """Jobs whose start died before its first step, by host."""
        self.excluded: set[str] = set()
        """Hosts that no job is submitted to."""
        self.resumed: dict[str, tuple[int, str]] = {}
        """By job, how many times, and why the last time."""

    def write(self) -> None:
        """What is known now. A disk that is full loses nothing but this."""
        waiting = Counter(reason for reason, _ in self.waiting)
        value = {
            "updated": time.time(),
            "waiting": dict(waiting),
            "due": min((due for _, due in self.waiting), default=None),
            "died": self.died,
            "excluded": sorted(self.excluded),
            "resumed": self.resumed,
        }
        try:
            write_json(self.file, value)
        except OSError:
            return


def job_name(folder: Path, prefix: str) -> str:
    """The name of all jobs of a folder, whichever Snakemake submits them."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, folder.resolve().as_uri()).hex[:12]
    return f"{prefix}_{name}" if prefix else name


def is_job_of(folder: Path, name: str) -> bool:
    """Whether that is the name of a job of the folder, with any prefix."""
    return name.rpartition("_")[2] == job_name(folder, "")


def ran_on_slurm(folder: Path) -> bool:
    """Whether a Snakemake in `folder` has submitted jobs."""
    return (folder / FILE).exists()


def lines(folder: Path, now: float | None = None) -> list[str]:
    """What `status` says of the submissions of the Snakemake that ran last in `folder`."""
    now = time.time() if now is None else now
    try:
        known = read_json(folder / FILE)
    except (FileNotFoundError, ValueError):
        return []
    shown = []
    if known["waiting"] and now - known["updated"] < OLD_SECONDS:
        waits = ", ".join(f"{count} ({reason})" for reason, count in known["waiting"].items())
        again = max(0.0, known["due"] - now)
        shown.append(f"waiting to be submitted: {waits}; the next try is in {short_time(again)}")
    for host, jobs in known["died"].items():
        out = "no job is sent there" if host in known["excluded"] else "they avoid it now"
        shown.append(
            f"{host}: {many(len(jobs), 'start')} died there before the first step "
            f"({_some(jobs)}); {out}"
        )
    if known["resumed"]:
        times = [f"{job} {many(n, 'time')} ({why})" for job, (n, why) in known["resumed"].items()]
        shown.append(f"resumed without an attempt: {_some(times)}")
    return shown


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN_JOBS
    return ", ".join([*names[:SHOWN_JOBS], *([f"{more} more"] if more > 0 else [])])
