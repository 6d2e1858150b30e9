"""What is handed to sbatch for a job, and by what the job is found again."""

import shlex
import subprocess
from collections.abc import Mapping, Set
from hashlib import sha256
from pathlib import Path
from typing import Any

from snakemake.io import is_flagged
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import get_job_wildcards, set_gres_string
from snakemake_executor_plugin_slurm.validation import (
    validate_or_get_slurm_job_id,
    validate_slurm_extra,
)
from snakemake_executor_plugin_slurm_jobstep import (
    get_cpu_setting,
    get_gpu_setting,
    get_node_setting,
)
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from plm_scaling.common.slurm_job import MAY_QUEUE_AGAIN
from plm_scaling.slurm.endings import TRAINING
from plm_scaling.slurm.journal import WITH
from plm_scaling.slurm.refusals import waits

# What Slurm says of the allocation contradicts what the srun inside it is told.
SCRIPT = """\
#!/bin/sh
{again}for name in $(env | sed -n 's/^\\(S\\(LURM\\|RUN\\|BATCH\\)_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
    case $name in
    SLURM_JOB_ID | SLURM_JOBID | SLURM_CLUSTER_NAME | SLURM_CONF | SLURM_SUBMIT_*) ;;
    *) unset "$name" ;;
    esac
done
exec {step}sh -c {command}
"""


class RefusedError(Exception):
    """sbatch refuses the job; the message is its own."""


def name_of(job: JobExecutorInterface) -> str:
    """Its rule and wildcards, as `status` names jobs."""
    return f"{job.name} {get_job_wildcards(job)}".rstrip()


def key_of(job: JobExecutorInterface) -> str:
    """By which jobs are told apart: the plugin's comment, and the first output."""
    wildcards = get_job_wildcards(job)
    name = f"rule_{job.name}" + (f"_wildcards_{wildcards}" if wildcards else "")
    # The jobs of a group have no order of their own.
    output = min(map(str, job.output)) if job.is_group() else next(iter(job.output), "")
    return f"{name} makes {output}"


def comment_of(job: JobExecutorInterface) -> str:
    """By which a job is found in Slurm's queue: its key, and what stands for what it makes its
    output of: the params, as far as Snakemake runs it again when they change, and the input."""
    params = job.dag.workflow.persistence._params
    jobs = job.jobs if job.is_group() else [job]
    made_of = sorted(repr([params(each), *_inputs(each, set(job.input))]) for each in jobs)
    return f"{key_of(job)}{WITH}{sha256(repr(made_of).encode()).hexdigest()[:8]}"


def _inputs(job: Any, read: Set[str]) -> list[tuple[str, Any]]:
    """Each input among those `read`, with what is another once it was made anew.

    That is its time, so that a job that began before is not taken for one that read the new file.
    A cell may have trained for days: of its input, a manifest and a record, the content counts, and
    a file that was made anew as it was stops none. What Snakemake does not compare is left out, and
    what a slow file system does not show yet.
    """
    state = _content if job.rule.name == TRAINING else _changed
    return [
        (str(file), state(Path(file)))
        for file in job.input
        if file in read
        and not file.is_ancient
        and not is_flagged(file, "before_update")
        and Path(file).exists()
    ]


def _content(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _changed(path: Path) -> int:
    """Nanoseconds since the epoch. What a job reads or adds in a folder that another one made
    changes the folder's own time; Snakemake leaves a file in it."""
    made = path / ".snakemake_timestamp"
    return (made if made.exists() else path).stat().st_mtime_ns


def log_of(job: JobExecutorInterface, number: str, logs: Path) -> Path:
    """Slurm's log of a job, where the plugin has it below its folder of logs."""
    kind = "group" if job.is_group() else "rule"
    return logs / f"{kind}_{job.name}" / get_job_wildcards(job) / f"{number}.log"


def script_of(job: JobExecutorInterface, command: str, requeue: bool) -> str:
    """The script of a job: `command`, which is Snakemake's for it, as one step on the job's cores.

    A job of the plugin's starts a second Snakemake only to call this srun. With --precommand the
    command is several. A job on several nodes starts its processes itself (`mpi`). With `requeue`
    it may have itself queued again.
    """
    again = f"export {MAY_QUEUE_AGAIN}=$SLURM_JOB_ID\n" if requeue else ""
    step = ""
    if not job.resources.get("mpi"):
        has_gpu = bool(get_gpu_setting(job))
        asked = [get_cpu_setting(job, has_gpu), get_gpu_setting(job), get_node_setting(job)]
        step = " ".join(["srun -n1 --cpu-bind=q", *filter(None, asked), ""])
    return SCRIPT.format(again=again, step=step, command=shlex.quote(command))


def sbatch(
    job: JobExecutorInterface,
    asked: Mapping[str, Any],
    settings: Any,
    script: str,
    excluded: Set[str],
) -> str:
    """Submit `script` as a job with what the rule and `asked` (of the plugin) ask for; its number.

    Hosts in `excluded` are left out, unless Slurm has none without them. Raises `RefusedError`.
    """
    validate_slurm_extra(job)
    for hosts in [excluded, set()] if excluded else [set()]:
        call = get_submit_command(job, asked, settings=settings, failed_nodes=hosts)
        # No shell reads it, and as a script it may be of any length.
        words = shlex.split(call + set_gres_string(job))
        done = subprocess.run(words, input=script, capture_output=True, text=True)
        if not done.returncode:
            number = done.stdout.strip().split(";")[0]
            return str(validate_or_get_slurm_job_id(number, done.stdout))
        if waits(done.stderr, others_queued=True):
            break  # and not because of the hosts
    raise RefusedError(done.stderr.strip())
