"""The tables of the law of the best learning rate, and of that of the best batch."""

from typing import NotRequired

from typing_extensions import TypedDict

from plm_scaling.laws.details import Bootstrap, HeldOut, NotAvailable
from plm_scaling.laws.predict import UNSURE
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Minimum, Status


class RateRow(TypedDict):
    """A run: its rate, its loss (nats/token), and whether the parabola is fitted to it."""

    peak_learning_rate: float
    loss: float
    fitted: bool


class BestRow(TypedDict):
    """One N and D: the loss at its own best value (nats/token), and what following the law costs
    (nats/token)."""

    n_params: float
    tokens: float
    loss: float | None
    excess: float | None
    status: Minimum


class GroupRow(BestRow):
    """One N, D and batch: its own best rate, and what the law gives."""

    batch_tokens: float
    best_rate: float | None
    law_rate: float | None
    rates: list[RateRow]


class TriedBatch(TypedDict):
    """A batch (tokens), the loss at its best rate (nats/token), and whether the parabola is fitted
    to it."""

    batch_tokens: float
    loss: float
    fitted: bool


class BatchRow(BestRow):
    """One N and D: its own best batch, and what the law gives, tokens."""

    best_batch: float | None
    law_batch: float | None
    batches: list[TriedBatch]


class Used(TypedDict):
    """What it costs to have used a value (nats/token; `at_most` with the level's certainty), and
    whether N and D lie within those tuned."""

    n_params: float
    tokens: float
    runs: int
    excess: float
    at_most: float | None
    tuned: bool


class UsedRow(Used):
    """A rate that the sweep used, and the law's."""

    peak_learning_rate: float
    law_rate: float


class UsedBatch(Used):
    """A batch that the sweep used, and the law's, tokens."""

    batch_tokens: float
    law_batch: float


class ConfigBlock(TypedDict):
    """training.peak_learning_rate or training.batch_tokens as a config takes it."""

    factor: float
    parameters: float
    tokens: float
    batch: NotRequired[float]


class Excess(TypedDict):
    """What a predicted value costs, nats/token, and how much of that noise allows."""

    excess: float
    allowed_by_noise: float


class HeldOutSetting(HeldOut):
    """The best value at the largest compute, by the law of the others."""

    loss: Excess


class HeldOutRate(HeldOutSetting):
    """A rate."""

    measured_rate: float
    predicted_rate: float


class HeldOutBatch(HeldOutSetting):
    """A batch, tokens."""

    measured_batch: float
    predicted_batch: float


class BatchLaw(TypedDict):
    """The law of the best batch, which has a status and reason of its own; `config` is None unless
    it is to be relied on. `curvature` is q of the parabolas in ln B, nats/token; None where they
    have no minimum."""

    status: Status
    reason: str
    config: ConfigBlock | None
    curvature: float | None
    groups: list[BatchRow]
    used: list[UsedBatch]
    held_out: HeldOutBatch | NotAvailable


class Details(TypedDict):
    """The tables of the law; `batch_tokens` is B0."""

    batch_tokens: float
    config: ConfigBlock | None
    groups: list[GroupRow]
    used: list[UsedRow]
    held_out: HeldOutRate | NotAvailable
    batch: BatchLaw | NotAvailable
    bootstrap: Bootstrap


def to_be_relied_on(law: LawResult) -> ConfigBlock | None:
    """The law of the rate for a config; None where it is not known, or its status says not to use
    it."""
    block: ConfigBlock | None = law.details["config"]
    return None if law.status in UNSURE else block


def batch_to_be_relied_on(law: LawResult) -> ConfigBlock | None:
    """The same of the batch. It is the best with the best rate, so there is none without that."""
    known = to_be_relied_on(law) is not None
    block: ConfigBlock | None = law.details.get("batch", {}).get("config")  # of earlier files none
    return block if known else None
