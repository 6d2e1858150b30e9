"""The `plm-scaling` command: typed functions, each the declaration of a command and its options."""

import os
import sys
from json import dumps
from pathlib import Path
from shlex import join
from typing import Annotated

from cyclopts import App, Parameter

from plm_scaling import __version__
from plm_scaling.cli import benchmarks, data, generation, models
from plm_scaling.common.command_line import OPTIONS, parse
from plm_scaling.common.errors import PlmScalingError, RunsError, SlurmError
from plm_scaling.common.files import atomic
from plm_scaling.common.program import start_logging
from plm_scaling.design.request import AS_NARROW, Request
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.planner.question import NOTHING, Question
from plm_scaling.study.laws import LAWS

NO_SWEEP = "no sweep planned there yet; make one with `snakemake plan`, or give the results folder"

app = App(
    name="plm-scaling",
    help="Scaling laws of protein language models.",
    version=__version__,
    help_format="plaintext",
    default_parameter=OPTIONS,
)
app["--help"].group = app["--version"].group = "Options"


def main() -> None:
    """Parse the command line; errors are one message and exit code 1."""
    call, asked = parse(app, sys.argv[1:])
    start_logging(None)
    try:
        call(*asked.args, **asked.kwargs)
    except (PlmScalingError, OSError) as error:
        sys.exit(f"error: {error}")


@app.command
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


@app.command
def check_site(
    *,
    partition: list[str] = [],  # noqa: B006
    account: str = "",
    wait: float = 10.0,
    out: Path | None = None,
) -> None:
    """What of a Slurm cluster matters for a study, and the block for its profile.

    Asks Slurm, and runs a job of seconds in each partition.

    Example: plm-scaling check-site --partition cpu --partition gpu --out site-profile.yaml

    Args:
        partition: partitions to try (default: all)
        account: the Slurm account of the jobs (default: yours)
        wait: minutes to wait for a job to start
        out: also write the block to this file (YAML)
    """
    from plm_scaling.slurm.check_site import check_site
    from plm_scaling.slurm.check_site_text import profile_text, site_text

    site = check_site(partition, account, wait)
    block = profile_text(site)
    print(f"{site_text(site)}\n\nFor profiles/slurm/config.yaml:\n\n{block}", end="")
    if out is not None:
        with atomic(out) as part:
            part.write_text(block)


@app.command
def summary(results: Path, /) -> None:
    """Fitted exponents with intervals, and where the report is.

    Example: plm-scaling summary results/demo

    Args:
        results: a results folder
    """
    from plm_scaling.report.summary import summary

    print(summary(results))


@app.command
def fit(
    law: Annotated[str, Parameter(help=", ".join(LAWS))],
    /,
    *,
    runs: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    out: Path,
    maps: Annotated[list[str], Parameter(name="map")] = [],  # noqa: B006
    curves: Path | None = None,
    objective: str | None = None,
    settings: Annotated[Settings, Parameter(name="*")] = DEFAULT,
) -> None:
    """Fit a law to a table of runs: its equations with intervals, and the law file.

    Example: plm-scaling fit isoflop --runs my.csv --objective clm --out clm.isoflop.json

    Args:
        runs: CSV, TSV or Parquet of runs: n_params, tokens or flops, loss (nats/token); - for stdin
        out: the law file (JSON)
        maps: which column is which: "HEADER=n_params", "HEADER*1e6=n_params", "log(HEADER)=loss"
        curves: their learning curves (curves.parquet)
        objective: clm or mlm, where the table holds both
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # its matrices are small: more threads only wait
    from plm_scaling.laws.fit import fit_law
    from plm_scaling.laws.text import law_text

    fitted = fit_law(law, runs, out, objective, curves=curves, settings=settings, maps=maps)
    print(law_text(fitted))
    print(f"law file: {out}")


@app.command
def plan(
    *,
    question: Annotated[Question, Parameter(name="*")] = NOTHING,
    json: bool = False,
    plot: Path | None = None,
    html: Path | None = None,
) -> None:
    """What to train: with some GPUs and days, with a compute, to a size, a loss, with few tokens.

    Example: plm-scaling plan --objective clm --gpus 8xA100 --days 14 --unique-tokens 5B

    Args:
        json: the answer as JSON
        plot: also draw it over lines of equal loss (.svg, .pdf or .png)
        html: also a page on which compute, data, size and objective are moved by hand
    """
    from plm_scaling.planner import answer
    from plm_scaling.planner.text import answer_text

    both = question.objective == "both"
    answers = answer.plan_both(question) if both else (answer.plan(question),)
    if plot is not None:
        from plm_scaling.figures.plan import draw_plan

        draw_plan(question, plot)
    if html is not None:
        from plm_scaling.planner.page import write_page

        write_page(html, question, answers[0])
    if json:
        facts = {one.objective: one.to_json() for one in answers}
        print(dumps(facts if both else facts[answers[0].objective], indent=2))
    else:
        print("\n\n".join(map(answer_text, answers)))


@app.command
def design(
    *,
    request: Annotated[Request, Parameter(name="*")] = AS_NARROW,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Which cells to train: what a sweep is expected to teach, by simulation, and what it costs.

    Example: plm-scaling design --question size-at=1e22 --gpus 8xH100 --days 30 --out my.yaml

    Args:
        json: the designs as JSON
        out: also write the config with this sweep (YAML), a study of the file's name
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # its matrices are small: more threads only wait
    from plm_scaling.config.load import FULL_STUDY
    from plm_scaling.design.block import designed_sweep, sweep_text, write_designed
    from plm_scaling.design.propose import facts, propose
    from plm_scaling.design.text import proposal_text

    config, machine, proposals = propose(request)
    keys = designed_sweep(config.sweep, {one.objective: one.entries for one in proposals})
    if out is not None:
        made = f"Made by `plm-scaling {join(sys.argv[1:])}`."
        write_designed(request.config or FULL_STUDY, out, keys, made)
    if json:
        print(dumps([facts(one) for one in proposals], indent=2))
        return
    print("\n\n".join(proposal_text(one, machine) for one in proposals))
    print(f"\nwritten: {out}" if out else f"\nsweep:\n{sweep_text(keys)}", end="\n" if out else "")


app.command(data.app, name="data")
app.command(models.export)
app.command(models.import_model, name="import")
app.command(models.score)
app.command(models.embed)
app.command(generation.generate)
app.command(generation.judge)
app.command(benchmarks.evaluate)

if __name__ == "__main__":
    main()
