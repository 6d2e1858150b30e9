"""Make a forecast: of the task (JSON) on standard input, to the file that is named.

python -m plm_scaling.forecasts.make results/demo/forecasts/0123456789.json < TASK
"""

import signal
import sys
from pathlib import Path

import pandas as pd

from plm_scaling.common.errors import LawError, PlmScalingError
from plm_scaling.common.program import end_with_parent
from plm_scaling.forecasts.curve import excess_of, forecast_curve
from plm_scaling.forecasts.loss import forecast_losses
from plm_scaling.forecasts.record import Forecast
from plm_scaling.forecasts.size import forecast_size
from plm_scaling.forecasts.task import Task
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.points import MAX_EPOCHS, columns, parametric_points
from plm_scaling.laws.selection import why_left_out
from plm_scaling.runs.collect import as_read, collect_cell
from plm_scaling.study.record import read_cell


def make_forecast(task: Task) -> Forecast:
    """The forecast of a cell from the runs that the task names. Raises `RunsError` where the files
    of one are damaged."""
    cell, asked = task.cell, task.asked
    if (cell.epochs or 0.0) > MAX_EPOCHS:
        return task.nothing(f"it goes through tokens more than {MAX_EPOCHS:g} times")
    runs, curves, digest = _tables(task)
    point = {"n_params": pd.Series([cell.n_params]), "tokens": pd.Series([cell.tokens])}
    try:
        (loss,) = forecast_losses(
            Runs.of(**parametric_points(runs), run=runs["run_id"], group=None),
            **columns(pd.DataFrame(point), "n_params", "tokens"),
            huber_delta=asked.huber_delta,
        )
    except LawError as error:
        return task.nothing(str(error))
    return Forecast(
        **task.facts(),
        runs=list(runs["run_id"]),
        runs_sha256=digest,
        loss=loss,
        best_size=forecast_size(runs, curves, cell.flops_budget),
        curve=forecast_curve(runs, excess_of(runs, curves), cell.n_params, cell.tokens, loss),
    )


def _tables(task: Task) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The comparable runs as in runs.csv, their curves as in curves.parquet, and the SHA-256 of
    the table of runs."""
    rows, curves = [], []
    for name in task.runs:
        _, cell = read_cell(task.folder / name / "result.json")
        row, curve, _ = collect_cell(cell, task.folder / name, task.asked.final_evaluations)
        rows.append(row)
        if curve is not None:
            curves.append(curve.assign(run_id=name))
    table, digest = as_read(rows)
    table = table[why_left_out("parametric", table) == ""].reset_index(drop=True)
    return table, pd.concat(curves, ignore_index=True), digest


def main() -> None:
    """One line of what was forecast, or of why it could not be, on standard error."""
    end_with_parent(signal.SIGKILL)
    task, path = Task.from_json(sys.stdin.read()), Path(sys.argv[1])
    try:
        made = make_forecast(task)
        made.write(path)
    except (PlmScalingError, OSError) as error:
        sys.exit(f"cell {task.cell.cell}: {error}")
    print(made.sentence, file=sys.stderr)


if __name__ == "__main__":
    main()
