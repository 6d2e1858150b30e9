"""`plm-scaling fit` and `summary`: laws from runs."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import Json, ends_in, print_json, results_of
from plm_scaling.common.command_line import READS
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.study.laws import LAWS


def summary(results: Path, /, *, json: Json = False) -> None:
    """Fitted exponents with intervals, and where the report is.

    Example: plm-scaling summary results/demo

    Args:
        results: a results folder, or the folder of a study
    """
    from plm_scaling.report.summary import summary

    found = summary(results_of(results))
    if json:
        print_json(found.to_json())
    else:
        print(found.text())


def fit(
    law: Annotated[str, Parameter(help=", ".join(LAWS))],
    /,
    *,
    runs: Annotated[Path, READS],
    out: Annotated[Path, Parameter(validator=ends_in(".json"))],
    maps: Annotated[list[str], Parameter(name="map")] = [],  # noqa: B006
    curves: Path | None = None,
    objective: str | None = None,
    settings: Annotated[Settings, Parameter(name="*")] = DEFAULT,
    json: Json = False,
) -> None:
    """Fit a law to a table of runs: its equations with intervals, and the law file.

    Example: plm-scaling fit isoflop --runs my.csv --objective clm --out clm.isoflop.json

    Args:
        runs: CSV, TSV, Parquet or Arrow, - for stdin: n_params, tokens or flops, loss (nats/token)
        out: the law file (JSON)
        maps: which column is which: "HEADER=n_params", "HEADER*1e6=n_params", "log(HEADER)=loss"
        curves: their learning curves (curves.parquet)
        objective: clm or mlm, where the table holds both
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # its matrices are small: more threads only wait
    from plm_scaling.laws.fit import fit_law
    from plm_scaling.laws.text import law_text

    fitted = fit_law(law, runs, out, objective, curves=curves, settings=settings, maps=maps)
    if json:
        print_json(fitted.to_json())
    else:
        print(f"{law_text(fitted)}\nlaw file: {out}")
