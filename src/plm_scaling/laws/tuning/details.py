"""The tables of the law of the best learning rate."""

from typing import NotRequired

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.laws.details import Bootstrap, HeldOut, NotAvailable
from plm_scaling.laws.predict import UNSURE
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Minimum
from plm_scaling.laws.tuning.line import Line
from plm_scaling.laws.tuning.rates import Bowls, Group


class RateRow(TypedDict):
    """A run: its rate, its loss (nats/token), and whether the parabola is fitted to it."""

    peak_learning_rate: float
    loss: float
    fitted: bool


class GroupRow(TypedDict):
    """One N, D and batch: its own best rate and the loss there (nats/token), what the law gives,
    and what following the law costs (nats/token)."""

    n_params: float
    tokens: float
    batch_tokens: float
    best_rate: float | None
    loss: float | None
    law_rate: float | None
    excess: float | None
    status: Minimum
    rates: list[RateRow]


class UsedRow(TypedDict):
    """A rate that the sweep used: the law's, what it costs to have used it (nats/token; `at_most`
    with the level's certainty), and whether N and D lie within those tuned."""

    n_params: float
    tokens: float
    peak_learning_rate: float
    runs: int
    law_rate: float
    excess: float
    at_most: float | None
    tuned: bool


class ConfigBlock(TypedDict):
    """training.peak_learning_rate as a config takes it."""

    factor: float
    parameters: float
    tokens: float
    batch: NotRequired[float]


class RateExcess(TypedDict):
    """What a predicted rate costs, nats/token, and how much of that noise allows."""

    excess: float
    allowed_by_noise: float


class HeldOutRate(HeldOut):
    """The best rate at the largest compute, by the law of the others."""

    measured_rate: float
    predicted_rate: float
    loss: RateExcess


class Details(TypedDict):
    """The tables of the law; `batch_tokens` is B0."""

    batch_tokens: float
    config: ConfigBlock | None
    groups: list[GroupRow]
    used: list[UsedRow]
    held_out: HeldOutRate | NotAvailable
    bootstrap: Bootstrap


def group_rows(
    bowls: Bowls, line: Line | None, usual: float, rate: Floats, loss: Floats
) -> list[GroupRow]:
    """A row for each group; `rate` and `loss` (n,) of all runs, `usual` the batch B0."""
    log_best, least, q = bowls.best
    rows: list[GroupRow] = []
    for g, (group, inside) in enumerate(zip(bowls.groups, bowls.inside, strict=True)):
        law = None if line is None else log_rate_of(line, group, usual)
        rows.append(
            {
                "n_params": group.n_params,
                "tokens": group.tokens,
                "batch_tokens": group.batch_tokens,
                "best_rate": float(np.exp(log_best[g])) if inside else None,
                "loss": float(least[g]) if inside else None,
                "law_rate": None if law is None else float(np.exp(law)),
                "excess": None if law is None or not inside else q * (log_best[g] - law) ** 2,
                "status": Minimum.ACCEPTED if inside else Minimum.OUTSIDE_RATES,
                "rates": [
                    {
                        "peak_learning_rate": float(rate[i]),
                        "loss": float(loss[i]),
                        "fitted": bool(fitted),
                    }
                    for i, fitted in sorted(
                        zip(group.members, group.fitted, strict=True), key=lambda one: rate[one[0]]
                    )
                ],
            }
        )
    return rows


def to_be_relied_on(law: LawResult) -> ConfigBlock | None:
    """The law for a config; None where it is not known, or its status says not to use it."""
    block: ConfigBlock | None = law.details["config"]
    return None if law.status in UNSURE else block


def log_rate_of(line: Line, group: Group, usual: float) -> float:
    """ln of the law's rate for a group."""
    n, d, b = (np.log([v]) for v in (group.n_params, group.tokens, group.batch_tokens / usual))
    return float((line.terms(n, d, b) @ line.parameters)[0])
