"""What the tables of several laws have in common, as types; each law adds its own in its module.

Tables are plain dictionaries, in memory as in the law file: a key that may be absent is
NotRequired, a value that may be unknown is None. `laws.schema` makes the JSON schema from them.
"""

from typing import (
    Literal,
    NotRequired,  # pydantic cannot read typing's before 3.12
)

from typing_extensions import TypedDict

from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.intervals import Floats, Interval
from plm_scaling.laws.status import Check


class NotAvailable(TypedDict):
    """A check that could not be made."""

    status: Literal[Check.NOT_AVAILABLE]
    why: str


def not_available(why: str) -> NotAvailable:
    """The entry of a check that could not be made."""
    return {"status": Check.NOT_AVAILABLE, "why": why}


class Bootstrap(TypedDict):
    """What was resampled for the intervals."""

    kind: str
    resamples: int
    seed: int


class Loss(TypedDict):
    """A held-out loss, nats/token; `difference` is predicted − measured."""

    measured: float
    predicted: float
    predicted_interval: Interval | None
    """Where the measured value should lie, with its own noise."""
    difference: float


class Size(TypedDict):
    """A held-out optimum N, parameters; `ratio` is predicted/measured."""

    measured: float
    predicted: float
    predicted_interval: Interval | None
    """Where the measured value should lie, with its own noise."""
    ratio: float


class LossErrors(TypedDict):
    """Predicted − measured losses of several runs, nats/token."""

    mean_error: float
    rms_error: float


class HeldOut(TypedDict):
    """A held-out prediction: of the runs of largest compute, by a fit without them."""

    status: Literal[Check.DONE]
    fitted_on_flops: list[float]
    predicted_at_flops: float


class HeldOutLoss(HeldOut):
    """One loss predicted."""

    loss: Loss


class HeldOutOptimum(HeldOutLoss):
    """The compute-optimal size predicted, too; `run_id` where a run has it."""

    run_id: NotRequired[str]
    n_params: Size


class HeldOutRuns(HeldOut):
    """The losses of several runs predicted."""

    n_predicted: int
    loss: LossErrors


def held_out_loss(measured: float, predicted: float, interval: Interval | None = None) -> Loss:
    """A loss and what was predicted for it, with the interval of the prediction."""
    return {
        "measured": measured,
        "predicted": predicted,
        "predicted_interval": interval,
        "difference": predicted - measured,
    }


def held_out_size(measured: float, predicted: float, interval: Interval | None = None) -> Size:
    """An optimal size and what was predicted for it, with the interval of the prediction."""
    return {
        "measured": measured,
        "predicted": predicted,
        "predicted_interval": interval,
        "ratio": predicted / measured,
    }


def loss_errors(error: Floats) -> LossErrors:
    """From predicted − measured losses (n,), nats/token."""
    return {"mean_error": float(error.mean()), "rms_error": rms(error)}
