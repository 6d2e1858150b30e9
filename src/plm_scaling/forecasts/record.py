"""results/{study}/forecasts/{cell}.json: what was forecast of a cell, and from what."""

import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import read_json, remove
from plm_scaling.laws.details import NotAvailable
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.status import Check

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LEVEL = 0.95  # of every interval
LEAST_BUDGETS = 3  # of finished runs: two to fit a surface to, and one on which it is tried
Why = Literal["new_largest_budget", "extra"]


class Predicted(TypedDict):
    """A number, and where at LEVEL the outcome should lie: its own noise is included."""

    predicted: float
    low: float
    high: float


class LossForecast(Predicted):
    """The loss of the run, nats/token, by the parametric surface of the runs."""

    status: Literal[Check.DONE]
    law: Literal["parametric"]
    law_interval: tuple[float, float]
    """Of the surface alone, from resampled runs."""
    run_sd: float
    """Scatter of a run about the surface, nats."""
    hindcast_rms: float
    """How far the surface of the runs of less compute was off for the others, nats."""
    hindcast_runs: int
    """How many these others were."""


class SizeForecast(Predicted):
    """The best size at the budget, parameters, by the minima of the runs' budgets."""

    status: Literal[Check.DONE]
    law: Literal["isoflop"]
    minima: int
    """Budgets with an accepted minimum, on which it rests."""


class CurvePoint(Predicted):
    """The validation loss (nats/token) of one evaluation, after a share of the run's tokens."""

    share: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The file. `flops` is 6·N·D, `time` in UTC; `runs` are the ids of the runs that it rests on,
    and `runs_sha256` is of their table (as runs.csv), None where none was made."""

    cell: str
    objective: str
    corpus: str
    recipe: str
    size: str
    n_params: int
    tokens: int
    flops: float
    flops_budget: float
    why: Why
    time: str
    version: str
    identity: dict[str, str]
    """Of the run, as in its starts.json: with other data or training it is another run."""
    level: float
    runs: list[str]
    runs_sha256: str | None
    loss: LossForecast | NotAvailable
    best_size: SizeForecast | NotAvailable
    curve: list[CurvePoint]
    """By rising share, the last at the end; empty where it is not available."""

    @property
    def sentence(self) -> str:
        """What is forecast, in a line."""
        if self.loss["status"] == Check.NOT_AVAILABLE:
            return f"cell {self.cell}: no forecast ({self.loss['why']})"
        low, high = self.loss["low"], self.loss["high"]
        return (
            f"cell {self.cell} is forecast to end at {self.loss['predicted']:.4f} nats/token "
            f"({percent(LEVEL)} {low:.4f} to {high:.4f}), from {len(self.runs)} runs"
        )

    def at(self, share: float) -> Predicted | None:
        """The curve after a share of the tokens, between its points; None before the first."""
        after = next((i for i, point in enumerate(self.curve) if point["share"] >= share), None)
        if after is None or (after == 0 and self.curve[0]["share"] > share):
            return None
        one, other = self.curve[max(after - 1, 0)], self.curve[after]
        gap = other["share"] - one["share"]
        weight = (share - one["share"]) / gap if gap else 1.0
        return {
            "predicted": one["predicted"] + weight * (other["predicted"] - one["predicted"]),
            "low": one["low"] + weight * (other["low"] - one["low"]),
            "high": one["high"] + weight * (other["high"] - one["high"]),
        }

    def write(self, path: Path) -> bool:
        """Write the file unless there is one, which is never changed; whether it was written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
        try:
            whole.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")
            os.link(whole, path)  # unlike a rename it replaces nothing
        except FileExistsError:
            return False
        finally:
            remove(whole)
        return True


def inside(forecast: Predicted, observed: float) -> bool:
    """Whether the outcome lies in the interval."""
    return forecast["low"] <= observed <= forecast["high"]


def sigmas(forecast: Predicted, observed: float, log: bool = False) -> float:
    """(observed − predicted) in standard deviations on that side, with `log` of the logarithm; an
    interval reaches as many as that of a normal distribution."""
    scale = math.log if log else float
    off = scale(observed) - scale(forecast["predicted"])
    end = forecast["high"] if off > 0 else forecast["low"]
    reach = abs(scale(end) - scale(forecast["predicted"]))
    return off / reach * NormalDist().inv_cdf((1 + LEVEL) / 2)


def read_forecast(path: Path) -> Forecast:
    """Read a file. Raises `RunsError` if it is no forecast, FileNotFoundError without a file."""
    from pydantic import ValidationError

    try:
        finite = json.dumps(read_json(path), allow_nan=False)
        return _as_declared().validate_json(finite)
    except ValidationError as error:
        first = error.errors()[0]
        why = ": ".join([".".join(map(str, first["loc"])), first["msg"]])
        raise _damaged(path, why) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> RunsError:
    return RunsError(
        f"{path}: not a forecast ({why}); move it aside: what is known later is no forecast"
    )


@cache
def _as_declared() -> "TypeAdapter[Forecast]":
    from pydantic import TypeAdapter

    return TypeAdapter(Forecast)


def read_forecasts(folder: Path) -> dict[str, Forecast]:
    """All forecasts of a study by cell, the oldest first; none where there is no folder."""
    found = [read_forecast(path) for path in folder.glob("*.json")]
    return {one.cell: one for one in sorted(found, key=lambda one: (one.time, one.cell))}


def forecast_schema() -> dict[str, Any]:
    """The JSON schema of the file."""
    return _as_declared().json_schema(mode="serialization")
