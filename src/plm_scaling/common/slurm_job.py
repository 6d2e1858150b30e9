"""What Slurm says of the job that this process is in, and that job queued again."""

import math
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress

from plm_scaling.common.progress import logger

# A controller that many jobs ask at once may not answer at first.
QUESTIONS = 4
SECONDS_BETWEEN_QUESTIONS = 5.0
# Our executor's jobs have their number here. In an allocation in which somebody runs Snakemake, all
# that was started by hand would begin again.
MAY_QUEUE_AGAIN = "PLM_SCALING_MAY_QUEUE_AGAIN"
MIB_OF_UNIT = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def seconds_left() -> float:
    """Seconds until the time limit; infinity outside Slurm, or where it does not say."""
    return seconds_of(_of_this_job("%L"))


def memory_mib() -> float:
    """MiB that each node of the job has; infinity outside Slurm, or where it does not say."""
    # Jobs' scripts, ours and the plugin's, keep SLURM_MEM_PER_NODE from what they start.
    return mib_of(_of_this_job("%m"))


def queue_again() -> bool:
    """Have Slurm queue this job again, as it was submitted, and end what of it still runs.

    Whether it will: only of jobs of our executor, and where the site allows it.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job or os.environ.get(MAY_QUEUE_AGAIN) != job:
        return False
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("Slurm does not queue job %s again: %s", job, error)
        return False
    if done.returncode:
        logger.warning("Slurm does not queue job %s again: %s", job, done.stderr.strip())
    return not done.returncode


def seconds_of(time_left: str) -> float:
    """Slurm's [days-][[hours:]minutes:]seconds; infinity for anything else, such as UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", time_left)
    if not found:
        return math.inf
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def mib_of(memory: str) -> float:
    """Slurm's 2000M or 1.5G; infinity for anything else, and for 0, which is all of a node."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", memory)
    return float(found[1]) * MIB_OF_UNIT[found[2]] or math.inf if found else math.inf


def _of_this_job(field: str) -> str:
    """A field of squeue's format for this job; empty outside Slurm, or without an answer."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not shutil.which("squeue"):
        return ""
    command = ["squeue", "--noheader", "--jobs", job, "--format", field]
    for question in range(QUESTIONS):
        if question:
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
        with suppress(subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return done.stdout.strip()
    logger.warning("squeue does not answer about job %s: its limits are not known", job)
    return ""
