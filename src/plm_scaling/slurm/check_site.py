"""What matters of a Slurm site for a study, asked of Slurm and of a short job in each partition."""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path

from plm_scaling.common.errors import SlurmError
from plm_scaling.common.lock import NAME as LOCK
from plm_scaling.common.lock import take_if_free
from plm_scaling.common.progress import logger
from plm_scaling.slurm.ask import SETTINGS, answer, nodes_of, settings_of, site_limits
from plm_scaling.slurm.limits import Asked, Limits, Partition, fitted
from plm_scaling.slurm.probe import Node

FOLDER = Path("logs/check-site")
MINUTES, MEMORY_MB, GPU_MEMORY_MB = 6, 1000, 8000  # that a job asks for
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_TO_SEE_A_FILE = 60.0  # that another node has written
GPUS_TO_MEET = 2
NAMES_TO_RESOLVE = 3  # of each partition's nodes


@dataclass
class Trial:
    """A short job in a partition: what it found, or why it found nothing."""

    partition: Partition
    job: str = ""
    submitted: float = 0.0
    """seconds since the epoch"""
    gres: list[str] = field(default_factory=list)
    node: Node | None = None
    failure: str = ""


@dataclass
class Site:
    """All that was found. `settings` are those of `scontrol show config`."""

    limits: Limits
    settings: dict[str, str]
    trials: list[Trial] = field(default_factory=list)
    account: str = ""


def check_site(names: Sequence[str], account: str, wait_minutes: float) -> Site:
    """Ask Slurm, and try a job in each partition of these names, or in all.

    Jobs that have not started after `wait_minutes` are cancelled. They write below the working
    folder, which nodes must see. Raises `SlurmError` where there is no Slurm, or no such partition.
    """
    settings = settings_of(answer(SETTINGS) or "")
    if not settings:
        raise SlurmError("no Slurm answers here (scontrol show config); run this on a login node")
    limits = site_limits()
    known = {partition.name: partition for partition in limits.partitions}
    if unknown := [name for name in names if name not in known]:
        raise SlurmError(f"no partition {unknown[0]}; there are {', '.join(known)}")
    site = Site(limits, settings, account=account)
    folder = FOLDER.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lock = take_if_free(folder / LOCK)
    if lock is None:
        raise SlurmError(f"another check runs in {folder}; wait until it ends")
    site.trials = [_submitted(known[name], limits, folder, account) for name in names or known]
    _wait(site.trials, folder, wait_minutes)
    return site


def _submitted(partition: Partition, limits: Limits, folder: Path, account: str) -> Trial:
    """Start a job in this partition, on two GPUs of a node where there are so many."""
    gpus = min(GPUS_TO_MEET, max((kind.gpus for kind in partition.kinds), default=0))
    memory = GPU_MEMORY_MB if gpus else MEMORY_MB
    asked: Asked = {"gpu": gpus, "_cores": max(gpus, 1), "mem_mb": memory, "runtime": MINUTES}
    fits = fitted({**asked, "slurm_partition": partition.name, "slurm_account": account}, limits)
    nodes, gres = nodes_of(partition.name)
    command = [sys.executable, "-m", "plm_scaling.slurm.probe", str(folder), partition.name]
    script = folder / f"{partition.name}.sh"
    script.write_text(
        f"#!/bin/sh\nexec {shlex.join([*command, str(gpus), *nodes[:NAMES_TO_RESOLVE]])}\n"
    )
    words = [
        *("sbatch", "--parsable", "--export=ALL", f"--job-name=plm_check_{partition.name}"),
        *(f"--partition={partition.name}", f"--time={fits['runtime']}", "--nodes=1", "--ntasks=1"),
        *(f"--cpus-per-task={fits['_cores']}", f"--mem={fits['mem_mb']}"),
        *(f"--output={folder}/{partition.name}.log", f"--chdir={Path.cwd()}"),
        *([f"--gpus={gpus}"] if gpus else []),
        *([f"--account={account}"] if account else []),
    ]
    done = subprocess.run([*words, str(script)], capture_output=True, text=True)
    trial = Trial(partition, submitted=time.time(), gres=gres)
    if done.returncode:
        said = done.stderr.replace("sbatch: error: ", "").split("\n")
        trial.failure = f"refused: {'; '.join(line for line in said if line)}"
    else:
        trial.job = done.stdout.strip().split(";")[0]
        logger.info("job %s in partition %s", trial.job, partition.name)
    return trial


def _wait(trials: list[Trial], folder: Path, minutes: float) -> None:
    """Read what the jobs find until all have ended; cancel those that start too late."""
    last = time.monotonic() + 60 * minutes
    open_trials = [trial for trial in trials if trial.job]
    while open_trials:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        states = _states([trial.job for trial in open_trials])
        for trial in open_trials:
            state, reason = states.get(trial.job, ("ENDED", ""))
            if state == "PENDING" and time.monotonic() > last:
                subprocess.run(["scancel", trial.job], capture_output=True)
                trial.failure = f"did not start within {minutes:g} min {reason}"
            elif state == "ENDED":
                trial.node = _node(folder / f"{trial.partition.name}.json")
                trial.failure = "" if trial.node else _why(folder, trial)
        open_trials = [trial for trial in open_trials if not (trial.node or trial.failure)]


def _states(jobs: list[str]) -> dict[str, tuple[str, str]]:
    """State and reason of the jobs that wait or run; all wait as long as Slurm does not answer."""
    lines = answer(["squeue", "--noheader", "--jobs", ",".join(jobs), "--format", "%A|%T|%R"])
    if lines is None:
        # squeue fails also when it has forgotten the only job.
        lines = answer(["squeue", "--noheader", "--me", "--format", "%A|%T|%R"])
    if lines is None:
        return dict.fromkeys(jobs, ("UNKNOWN", ""))
    rows = [line.split("|", 2) for line in lines.splitlines()]
    return {job: (state, reason) for job, state, reason in rows}


def _node(file: Path) -> Node | None:
    """What a job wrote, which may take a moment to be seen here."""
    end = time.monotonic() + SECONDS_TO_SEE_A_FILE
    while not file.exists() and file.with_suffix(".log").exists() and time.monotonic() < end:
        if file.with_suffix(".log").stat().st_size:
            break  # it failed, and says why
        time.sleep(SECONDS_BETWEEN_LOOKS)
        list(file.parent.iterdir())  # which has a network file system look again
    return Node(**loads(file.read_text())) if file.exists() else None


def _why(folder: Path, trial: Trial) -> str:
    """The last line of the job's log."""
    log = folder / f"{trial.partition.name}.log"
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = [line for line in lines if line.strip()]
    if said:
        return f"failed: {said[-1]}"
    return f"ended without a word: do nodes see {folder}, and write there?"
