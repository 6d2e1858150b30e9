"""`plm-scaling status`: how far the cells of a study are."""

from pathlib import Path

from plm_scaling.common.errors import RunsError, SlurmError

NO_SWEEP = "no sweep planned there yet; make one with `snakemake plan`, or give the results folder"


def status(*results: Path) -> None:
    """Of each cell: state, loss, time left, whether it is as forecast, Slurm job; when all will be
    done; why jobs failed.

    From its files, during a run or after it.

    Example: plm-scaling status results/demo

    Args:
        results: results folders (default: all)
    """
    # Neither a Slurm that does not answer nor a sweep that is still to be planned hides the rest.
    from plm_scaling.common.gpus import notes_of_set_aside
    from plm_scaling.forecasts.running import against_forecasts
    from plm_scaling.runs.failures import failed_jobs
    from plm_scaling.runs.queue import never_starting, queue_text, queued_jobs
    from plm_scaling.runs.status import cell_states, status_table
    from plm_scaling.runs.time_left import time_left_text
    from plm_scaling.slurm.journal import lines, ran_on_slurm

    sweeps = [folder / "sweep.tsv" for folder in results]
    sweeps = sweeps or sorted(Path("results").glob("*/sweep.tsv"))
    folders = [*dict.fromkeys(sweep.parent.parent.parent for sweep in sweeps)] or [Path()]
    try:
        jobs = queued_jobs()
        queue = queue_text(jobs) if jobs else ""
    except SlurmError as error:  # also of a machine that only has Slurm's commands
        jobs, queue = [], str(error) if any(map(ran_on_slurm, folders)) else ""
    trains = {job.job.removeprefix("train_cell "): job.text for job in jobs}
    for sweep in (sweep for sweep in sweeps if sweep.exists()):
        states = cell_states(sweep, sweep.with_name("runs"))
        held = against_forecasts(sweep.parent, states)
        print(f"{sweep.parent}\n{status_table(states, trains, held)}")
        print(time_left_text(states, sweep.with_name("estimates.json")), end="")
    if not sweeps:
        print(f"results/*/sweep.tsv: {NO_SWEEP}")
    if queue:
        print("\n".join([queue, *never_starting(jobs)]))
    for note in notes_of_set_aside():
        print(note)
    for folder in folders:
        for line in lines(folder):
            print(line)
        for failure in failed_jobs(folder):
            print(f"failed: {failure.text}")
    if missing := [sweep for sweep in sweeps if not sweep.exists()]:
        raise RunsError(f"{missing[0]}: {NO_SWEEP}")
