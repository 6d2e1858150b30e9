"""The `plm-scaling` command."""

import argparse
import sys
from pathlib import Path
from typing import Any

from plm_scaling.cli import data as data_cli
from plm_scaling.cli import models as model_cli
from plm_scaling.common.errors import PlmScalingError, RunsError
from plm_scaling.common.program import start_logging
from plm_scaling.study.laws import LAWS

NO_SWEEP = "no sweep planned there yet; make one with `snakemake plan`, or give the results folder"


def main() -> None:
    """Parse the command line; errors are one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="plm-scaling", description="Scaling laws of pLMs.")
    commands = parser.add_subparsers(required=True)
    status = commands.add_parser("status", help="of each cell: state, loss, time left, Slurm job")
    status.add_argument("results", type=Path, nargs="*", help="results folders (default: all)")
    status.set_defaults(function=show_status)
    summary = commands.add_parser("summary", help="fitted exponents, and where the report is")
    summary.add_argument("results", type=Path, help="a results folder, such as results/demo")
    summary.set_defaults(function=show_summary)
    fit = commands.add_parser("fit", help="fit a law to a table of runs")
    fit.add_argument("law", help=", ".join(LAWS))
    fit.add_argument(
        "--runs", type=Path, required=True, help="CSV with n_params,tokens,loss or more columns"
    )
    fit.add_argument("--curves", type=Path, help="their learning curves (curves.parquet)")
    fit.add_argument("--objective", help="clm or mlm, where the table holds both")
    fit.add_argument("--bootstrap", type=int, default=1000, help="resamples (default 1000)")
    fit.add_argument("--level", type=float, default=0.95, help="of the intervals (default 0.95)")
    fit.add_argument("--seed", type=int, default=1, help="of the resamples (default 1)")
    fit.add_argument("--out", type=Path, required=True, help="the law file (JSON)")
    fit.set_defaults(function=show_fit)
    plan = commands.add_parser("plan", help="what to train with a given compute, and its cost")
    plan.add_argument("--flops", type=float, required=True, help="6·N·D to spend, such as 1e21")
    plan.add_argument("--objective", choices=("clm", "mlm"), required=True)
    plan.add_argument("--unique-tokens", type=float, help="tokens available; beyond, they repeat")
    plan.add_argument("--laws", type=Path, help="folder of law files (default: the study's)")
    plan.add_argument("--gpu", default="H100", help="for the hours (default H100)")
    plan.add_argument(
        "--utilisation", type=float, default=0.4, help="share of its peak (default 0.4)"
    )
    plan.set_defaults(function=show_advice)
    data_cli.add_parser(commands)
    model_cli.add_parsers(commands)
    arguments = vars(parser.parse_args())
    function = arguments.pop("function")
    start_logging(None)
    try:
        function(**arguments)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


def show_status(results: list[Path]) -> None:
    """Print the table of each sweep, from its files, during a run or after it; what Slurm has
    in its queue; and why jobs of the last run failed.

    Neither a Slurm that does not answer nor a sweep that is still to be planned hides the rest.
    Raises `RunsError`, at the end, when a results folder that is asked for has no sweep.
    """
    from plm_scaling.runs.failures import failed_jobs
    from plm_scaling.runs.queue import queue_text, queued_jobs
    from plm_scaling.runs.status import cell_states, status_table

    sweeps = [folder / "sweep.tsv" for folder in results]
    sweeps = sweeps or sorted(Path("results").glob("*/sweep.tsv"))
    try:
        jobs = queued_jobs()
        queue = queue_text(jobs) if jobs else ""
    except RunsError as error:
        jobs, queue = [], str(error)
    trains = {job.job.removeprefix("train_cell "): job.text for job in jobs}
    for sweep in (sweep for sweep in sweeps if sweep.exists()):
        states = cell_states(sweep, sweep.with_name("runs"))
        print(f"{sweep.parent}\n{status_table(states, trains)}")
    if not sweeps:
        print(f"results/*/sweep.tsv: {NO_SWEEP}")
    if queue:
        print(queue)
    for folder in dict.fromkeys(sweep.parent.parent.parent for sweep in sweeps) or [Path()]:
        for failure in failed_jobs(folder):
            print(f"failed: {failure.text}")
    if missing := [sweep for sweep in sweeps if not sweep.exists()]:
        raise RunsError(f"{missing[0]}: {NO_SWEEP}")


def show_summary(results: Path) -> None:
    """Print the fitted exponents with intervals, and where the report is."""
    from plm_scaling.report.summary import summary

    print(summary(results))


def show_fit(law: str, runs: Path, out: Path, **options: Any) -> None:
    """Fit a law to anybody's table, print the equations with intervals, and write the law file."""
    from plm_scaling.laws.fit import fit_law
    from plm_scaling.laws.text import law_text

    print(law_text(fit_law(law, runs, out, **options)))
    print(f"law file: {out}")


def show_advice(laws: Path | None, **question: Any) -> None:
    """Print what to train, from law files."""
    from plm_scaling.planner.plan import PUBLISHED_LAWS, plan_training
    from plm_scaling.planner.text import plan_text

    print(plan_text(plan_training(laws=laws or PUBLISHED_LAWS, **question)))


if __name__ == "__main__":
    main()
