"""The `plm-scaling` command."""

import argparse
import sys
from pathlib import Path

from plm_scaling.errors import PlmScalingError, RunsError
from plm_scaling.program import start_logging


def main() -> None:
    """Parse the command line; errors are one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="plm-scaling", description="Scaling laws of pLMs.")
    commands = parser.add_subparsers(required=True)
    status = commands.add_parser("status", help="state, loss, tokens and time left of each cell")
    status.add_argument("results", type=Path, nargs="*", help="results folders (default: all)")
    status.set_defaults(function=show_status)
    summary = commands.add_parser("summary", help="fitted exponents, and where the report is")
    summary.add_argument("results", type=Path, help="a results folder, such as results/demo")
    summary.set_defaults(function=show_summary)
    arguments = vars(parser.parse_args())
    function = arguments.pop("function")
    start_logging(None)
    try:
        function(**arguments)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


def show_status(results: list[Path]) -> None:
    """Print the table of each sweep, from its files, while a run goes on or after."""
    from plm_scaling.runs.status import cell_states, status_table

    sweeps = [folder / "sweep.tsv" for folder in results]
    sweeps = sweeps or sorted(Path("results").glob("*/sweep.tsv"))
    missing = [sweep for sweep in sweeps if not sweep.exists()]
    if missing or not sweeps:
        raise RunsError(
            f"{missing[0] if missing else 'results/*/sweep.tsv'}: no sweep there; make one with "
            "`snakemake plan`, or give the results folder"
        )
    for sweep in sweeps:
        print(f"{sweep.parent}\n{status_table(cell_states(sweep, sweep.with_name('runs')))}")


def show_summary(results: Path) -> None:
    """Print the fitted exponents with intervals, and where the report is."""
    from plm_scaling.report.summary import summary

    print(summary(results))


if __name__ == "__main__":
    main()
