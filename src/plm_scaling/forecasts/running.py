"""Where the newest evaluation of a cell stands in its forecast, for `plm-scaling status`."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from plm_scaling.common.errors import RunsError
from plm_scaling.forecasts.record import inside, read_forecast, sigmas
from plm_scaling.runs.status import CellState, last_validation


def against_forecasts(results: Path, states: Iterable[CellState]) -> dict[str, str]:
    """By cell, of those that have a forecast and an evaluation: `inside` its interval, or how many
    standard deviations above or below what was forecast. A damaged file says nothing."""
    said = {}
    for state in states:
        with suppress(RunsError, OSError):
            if phrase := _phrase(results, state):
                said[state.cell] = phrase
    return said


def _phrase(results: Path, state: CellState) -> str:
    made = read_forecast(results / "forecasts" / f"{state.cell}.json")
    newest = last_validation(results / "runs" / state.cell)
    if newest is None:
        return ""
    tokens, loss = newest
    forecast = made.at(tokens / state.plan.tokens)
    if forecast is None:
        return ""
    off = sigmas(forecast, loss)
    if inside(forecast, loss):
        return f"inside ({off:+.1f} sigmas)"
    return f"{abs(off):.1f} sigmas {'above' if off > 0 else 'below'}"
