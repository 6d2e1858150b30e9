"""`plm-scaling run`: Snakemake for a study."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

TRAINING = {"all", "plan", "train", "report"}


def run(
    study: Path,
    /,
    *words: str,
    dry_run: bool = False,
    profile: str = "",
    workflow: Path | None = None,
) -> None:
    """Run a study, or go on with it: Snakemake with the right Snakefile, profile and config.

    Prints the command first. After -- any options of Snakemake follow, as in: -- --cores 4

    Example: plm-scaling run my-study --dry-run

    Args:
        study: folder with a config.yaml, where data and results go, or a config file
        words: targets: all (the report, default), plan, download, data, train, next_stage,
            laws, downstream, report, published
        dry_run: only say what there is to do: jobs by stage, hours, disk
        profile: how it is run: a name in profiles/ or a folder (default: box with GPUs, else local)
        workflow: a clone of the repository (default: the one that is installed)
    """
    from plm_scaling.config.load import read_study
    from plm_scaling.workflow.command import (
        OF_BACKEND,
        config_of,
        configs_of,
        place,
        process_of,
        snakemake_command,
        targets_of,
    )
    from plm_scaling.workflow.outlook import outlook

    folder, file = config_of(study)
    config, _ = read_study(configs_of(words, file), {})
    chosen = profile or OF_BACKEND[config.machine.backend]
    command = snakemake_command(study, words, workflow, chosen, dry_run)
    hold_interrupts = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})
    if not dry_run:
        hold_interrupts()
    print(f"$ {shlex.join(command)}", flush=True)
    if not profile and shutil.which("sbatch"):
        print("Slurm is here: with --profile slurm it runs the jobs", flush=True)
    if not dry_run:
        os.execv(sys.executable, process_of(command))  # signals and exit code are Snakemake's
    done = subprocess.run(process_of(command), preexec_fn=hold_interrupts)
    if done.returncode:
        sys.exit(done.returncode)
    targets = targets_of(words)
    if not targets or TRAINING & {*targets}:
        for line in outlook(config, folder or Path(), place(workflow, chosen, words)):
            print(line)
