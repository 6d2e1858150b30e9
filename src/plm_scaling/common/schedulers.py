"""Submit jobs of Snakemake's generic executor to LSF, PBS, SGE and Kubernetes, and ask for them.

python -m plm_scaling.common.schedulers submit lsf JOBSCRIPT    prints the job's id
python -m plm_scaling.common.schedulers status lsf ID    prints running, success or failed

The profiles of these schedulers call it. What a job asks for stands in the script that Snakemake
writes; what only the site knows comes from its profile, as the resource `scheduler_options`.
"""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from plm_scaling.common.errors import PlmScalingError, SchedulerError

FOLDER = Path(".snakemake/schedulers")  # below the working folder, which all nodes see
APPEARING_SECONDS = 15.0  # of a file that another node wrote, on a network file system

ENDS = "PLM_SCALING_JOB_ENDS"  # seconds since 1970

# The exit code of the job is written down: a scheduler forgets a job that has ended, and one that
# it killed leaves nothing.
SCRIPT = """#!/bin/sh
export {ends}=$(($(date +%s) + {seconds}))
(
{script}
)
code=$?
echo $code > {folder}/{name}.exit
exit $code
"""


@dataclass(frozen=True)
class Job:
    """What a job asks for; threads, memory and GPUs of each of its nodes."""

    name: str
    script: Path
    threads: int
    mem_mb: int
    minutes: int
    gpus: int
    nodes: int
    options: list[str]
    parallel_environment: str

    @property
    def log(self) -> str:
        return str(self.script.with_suffix(".log"))

    @classmethod
    def of_jobscript(cls, jobscript: Path, options: Sequence[str]) -> "Job":
        """From the script that Snakemake wrote; one with the same content that notes its exit code
        lies in `FOLDER` then. `options` come after those of the profile."""
        text = jobscript.read_text()
        found = re.search(r"^# properties = (.*)$", text, re.MULTILINE)
        if not found:
            raise SchedulerError(
                f"{jobscript} is no job script of Snakemake's: no properties in it"
            )
        properties = json.loads(found[1])
        asked = properties["resources"]
        nodes = int(asked.get("nodes", 1))
        FOLDER.mkdir(parents=True, exist_ok=True)
        folder = FOLDER.absolute()
        rule = properties.get("rule", properties.get("groupid", "group"))
        name = f"{rule}-{uuid.uuid4().hex[:8]}"
        script = folder / f"{name}.sh"
        minutes = int(asked["runtime"])
        facts = {"ends": ENDS, "seconds": 60 * minutes, "name": name}
        script.write_text(SCRIPT.format(script=text, folder=shlex.quote(str(folder)), **facts))
        return cls(
            name=name.replace("_", "-"),
            script=script,
            threads=int(properties["threads"]),
            mem_mb=int(asked["mem_mb"]),
            minutes=minutes,
            gpus=int(asked.get("gpu", 0)) // nodes,
            nodes=nodes,
            options=[*shlex.split(asked.get("scheduler_options", "")), *options],
            parallel_environment=asked.get("parallel_environment", "smp"),
        )

    def on_one_node(self, scheduler: str) -> None:
        """Raise `SchedulerError` unless it is."""
        if self.nodes > 1:
            raise SchedulerError(
                f"{self.name} takes {self.nodes} nodes, which the profile of {scheduler} does not "
                "ask for; set machine.max_gpus to the GPUs of a node"
            )


def _lsf(job: Job) -> list[str]:
    spread = ["-n", str(job.threads * job.nodes), "-R", f"span[ptile={job.threads}]"]
    limits = ["-R", f"rusage[mem={job.mem_mb}MB]", "-W", str(job.minutes)]
    gpus = ["-gpu", f"num={job.gpus}"] if job.gpus else []
    return ["bsub", "-J", job.name, "-o", job.log, *spread, *limits, *gpus, *job.options]


def _pbs(job: Job) -> list[str]:
    chunk = f"select={job.nodes}:ncpus={job.threads}:mem={job.mem_mb}mb"
    chunk += f":ngpus={job.gpus}" if job.gpus else ""
    spread = ["-l", chunk, *(["-l", "place=scatter"] if job.nodes > 1 else [])]
    limit = f"walltime={job.minutes // 60:02d}:{job.minutes % 60:02d}:00"
    return ["qsub", "-N", job.name, "-j", "oe", "-o", job.log, *spread, "-l", limit, *job.options]


def _sge(job: Job) -> list[str]:
    job.on_one_node("SGE")
    each = -(-job.mem_mb // job.threads)  # h_vmem is of a slot
    limits = f"h_rt={60 * job.minutes},h_vmem={each}M" + (f",gpu={job.gpus}" if job.gpus else "")
    slots = ["-pe", job.parallel_environment, str(job.threads)]
    named = ["qsub", "-terse", "-N", job.name, "-S", "/bin/sh", "-cwd", "-j", "y", "-o", job.log]
    return [*named, *slots, "-l", limits, *job.options]


def _kubernetes(job: Job) -> list[str]:
    job.on_one_node("Kubernetes")
    text = Path(job.options[-1]).read_text()
    facts = {"name": job.name, "script": job.script, "folder": Path.cwd(), "threads": job.threads}
    manifest = job.script.with_suffix(".yaml")
    facts |= {"mem_mb": job.mem_mb, "gpu": job.gpus, "seconds": 60 * job.minutes}
    manifest.write_text(Template(text).substitute(facts))
    return ["kubectl", "create", "-o", "name", "-f", str(manifest)]


@dataclass(frozen=True)
class Scheduler:
    """Words of its commands, and what they say."""

    submit: Callable[[Job], list[str]]
    takes_script: bool
    id_in: str
    """Finds the id in what submitting says."""
    ask: tuple[str, ...]
    ended: str
    """Found in the answer for a job that has ended, or that it does not know any more."""


SCHEDULERS = {
    "lsf": Scheduler(
        _lsf, True, r"Job <(\d+)>", ("bjobs", "-noheader", "-o", "stat"), r"DONE|EXIT|not found"
    ),
    "pbs": Scheduler(
        _pbs, True, r"(\S+)", ("qstat", "-f"), r"job_state = [CFX]|Unknown Job|has finished"
    ),
    "sge": Scheduler(_sge, True, r"(\d+)", ("qstat", "-j"), r"do not exist|error reason"),
    "kubernetes": Scheduler(
        _kubernetes, False, r"(\S+)",
        ("kubectl", "get", "-o", "jsonpath={.status.conditions[*].type}"),
        r"Complete|Failed|NotFound",
    ),
}  # fmt: skip


def submit(scheduler: Scheduler, jobscript: Path, *options: str) -> str:
    """Submit; the job's id. Raises `SchedulerError` for a refusal."""
    job = Job.of_jobscript(jobscript, options)
    command = [*scheduler.submit(job), *([str(job.script)] if scheduler.takes_script else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(scheduler.id_in, done.stdout)
    if done.returncode or not found:
        said = " ".join((done.stderr + done.stdout).split())
        raise SchedulerError(f"{job.name} is not submitted: {said} ({shlex.join(command)})")
    FOLDER.joinpath(f"{_file_name(found[1])}.job").write_text(job.script.stem)
    return found[1]


def status(scheduler: Scheduler, job_id: str) -> str:
    """running (also where the scheduler does not answer), success or failed."""
    done = subprocess.run([*scheduler.ask, job_id], capture_output=True, text=True)
    if not re.search(scheduler.ended, done.stdout + done.stderr):
        return "running"
    name = FOLDER.joinpath(f"{_file_name(job_id)}.job").read_text()
    exit_code = FOLDER / f"{name}.exit"
    end = time.monotonic() + APPEARING_SECONDS
    while not exit_code.exists() and time.monotonic() < end:
        time.sleep(0.5)
    return "success" if exit_code.exists() and exit_code.read_text().strip() == "0" else "failed"


def seconds_left() -> float:
    """Seconds until the time limit of the job that this process is in; infinity outside of one."""
    ends = os.environ.get(ENDS)
    return float(ends) - time.time() if ends else math.inf


def _file_name(job_id: str) -> str:
    return job_id.replace("/", "-")


def main(arguments: Sequence[str]) -> None:
    """`submit SCHEDULER JOBSCRIPT [OPTION…]` or `status SCHEDULER ID`."""
    action, name, what, *options = arguments
    try:
        if action == "submit":
            print(submit(SCHEDULERS[name], Path(what), *options))
        else:
            print(status(SCHEDULERS[name], what))
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
