"""The curves of a cell with points enough for a screen, also while it trains."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.errors import RunsError
from plm_scaling.forecasts.record import read_forecast
from plm_scaling.runs.tables import read_cell_curve
from plm_scaling.watch.remember import Remembered

POINTS = 250  # of a training curve
Point = tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Points of (tokens, loss in nats/token); of the forecast of the validation loss (tokens,
    predicted, low, high)."""

    train: list[Point]
    """Each the mean of neighbouring rows of steps.csv."""
    valid: list[Point]
    forecast: list[Point]


def read_cell_curves(results: Path, cell: str, remembered: Remembered) -> Curves:
    """The curves of a cell below `results`; empty where a file is missing or damaged."""
    folder = results / "runs" / cell
    steps, curve = folder / "steps.csv", folder / "curve.csv"
    forecast = results / "forecasts" / f"{cell}.json"
    return Curves(
        train=remembered.of(steps, [steps], lambda: _train(steps)),
        valid=remembered.of(("valid", curve), [curve], lambda: _valid(curve)),
        forecast=remembered.of(forecast, [forecast], lambda: _forecast(forecast)),
    )


def _train(path: Path) -> list[Point]:
    try:
        text = pd.read_csv(path, usecols=["tokens", "loss"], dtype=str, on_bad_lines="skip")
    except (OSError, ValueError):
        return []
    rows = text.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    parts = np.array_split(rows, min(POINTS, len(rows))) if len(rows) else []
    return [_point(part[-1, 0], part[:, 1].mean()) for part in parts]


def _valid(path: Path) -> list[Point]:
    try:
        curve = read_cell_curve(path)
    except (OSError, RunsError):
        return []
    own = curve[curve["split"] == "valid"]
    pairs = zip(own["tokens"], own["loss"], strict=True)
    return [_point(tokens, loss) for tokens, loss in pairs if math.isfinite(loss)]


def _forecast(path: Path) -> list[Point]:
    try:
        made = read_forecast(path)
    except (OSError, RunsError):
        return []
    return [
        _point(point["share"] * made.tokens, point["predicted"], point["low"], point["high"])
        for point in made.curve
    ]


def _point(tokens: float, *losses: float) -> Point:
    return (int(tokens), *(round(float(loss), 4) for loss in losses))
