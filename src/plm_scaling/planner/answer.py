"""The answer to a question: what to train, how sure that is, and what it takes."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from plm_scaling.common.errors import LawError
from plm_scaling.planner.advice import Data, Serving, check_epochs, data_limit, serving, transfer
from plm_scaling.planner.case import Case
from plm_scaling.planner.laws import Estimate, find_laws
from plm_scaling.planner.question import PUBLISHED_LAWS, Question, given
from plm_scaling.planner.training import ShapeRow, Time, affordable, shape_rows, training_time
from plm_scaling.planner.trust import Trust, check_loss, how_sure

AS_GOOD = 0.999  # a run that is worth more of its compute is the best


@dataclass(frozen=True)
class OffOptimum:
    """What a run costs that is not the best of its compute on fresh tokens."""

    nats_per_token: float
    """Its loss above that of the best run."""
    equivalent_flops: float
    """The compute that the best run needs for its loss."""


@dataclass(frozen=True)
class Answer:
    """What to train. The JSON has the same keys; what was given has no interval."""

    objective: str
    law: str
    level: float
    """Of the intervals."""
    flops: Estimate
    """Of training, 6·N·D."""
    n_params: Estimate
    """Non-embedding parameters."""
    tokens: Estimate
    """For training."""
    loss_nats_per_token: Estimate
    epochs: float | None
    """None where the unique tokens were not given."""
    off_optimum: OffOptimum | None
    data: Data | None
    serving: Serving | None
    time: Time
    shapes: list[ShapeRow]
    """Nearest first."""
    how_sure: str
    guesses: list[str]
    """Why this is a guess; empty where it is none."""
    notes: list[str]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Raw numbers with their units in the keys; an open end is null."""
        closed: dict[str, Any] = _closed(asdict(self))
        return closed


def plan(question: Question) -> Answer:
    """The answer. Raises LawError for what cannot be read, contradicts itself, or lies where the
    laws say nothing: over 10,000 times beyond their budgets, more epochs than they know, a loss
    above that of a uniform guess."""
    if question.objective == "both":
        raise LawError("objective both is two plans: `plan_both`")
    return answer(case_of(question))


def case_of(question: Question) -> Case:
    """The question with its laws; days on GPUs as the compute that they afford."""
    asked = given(question)
    case = Case(asked, find_laws(question.laws or PUBLISHED_LAWS, question.objective))
    if asked.days is None:
        return case
    flops = affordable(asked, case.kind, lambda flops: case.but(flops=flops).run)
    return case.but(flops=flops)


def answer(case: Case) -> Answer:
    """What `plan` returns, of a question whose laws have been read."""
    laws, asked, run = case.laws, case.asked, case.run
    trust = Trust.of(case)
    n, tokens, flops = case.estimates()
    loss = case.loss if asked.loss is None else Estimate(case.loss.value)
    check_epochs(case)
    check_loss(loss.value)
    rows, missing = shape_rows(asked, case.kind, run, case.loss_of)
    off = None
    if case.equivalent < AS_GOOD * run.flops:
        lowest = float(laws.surface.loss(run.flops))
        off = OffOptimum(case.loss.value - lowest, case.equivalent)
    return Answer(
        objective=laws.objective,
        law=laws.name,
        level=laws.level,
        flops=flops,
        n_params=n,
        tokens=tokens,
        loss_nats_per_token=loss,
        epochs=case.repeats.epochs(run.tokens) or None,
        off_optimum=off,
        data=data_limit(case),
        serving=serving(case),
        time=training_time(asked, case.kind, run),
        shapes=rows,
        how_sure=how_sure(laws),
        guesses=trust.guesses,
        notes=transfer(case) if laws.objective == "mlm" else [],
        warnings=[*trust.warnings, *missing],
    )


def _closed(value: Any) -> Any:
    """Without what JSON does not know."""
    if isinstance(value, dict):
        return {name: _closed(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_closed(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
