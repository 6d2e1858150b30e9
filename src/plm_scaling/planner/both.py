"""A CLM and an MLM of one size from one compute."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from plm_scaling.common.errors import LawError
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.laws.verdict import around
from plm_scaling.planner.answer import Answer, answer
from plm_scaling.planner.case import Case
from plm_scaling.planner.laws import Estimate, Laws, find_laws
from plm_scaling.planner.question import PUBLISHED_LAWS, Given, Question, given
from plm_scaling.planner.solve import Run
from plm_scaling.planner.surface import Surface


def plan_both(question: Question) -> tuple[Answer, Answer]:
    """A CLM and an MLM of one size from one compute, each at the optimum of its share.

    Intervals of size, tokens and share are from the least to the most over where the optima of both
    may lie. Raises LawError as `plan`, and where more than compute and GPUs is given.
    """
    asked = given(question)
    if asked != Given(asked.flops, gpu=asked.gpu, gpus=asked.gpus, utilisation=asked.utilisation):
        raise LawError("objective both divides the compute: give --flops, and GPUs at most")
    assert asked.flops is not None
    pair = [find_laws(question.laws or PUBLISHED_LAWS, objective) for objective in ("clm", "mlm")]
    surfaces = [laws.surface for laws in pair]
    runs = _divided(surfaces, asked.flops)
    others = [
        _divided([one.moved(by) for one, by in zip(surfaces, moves, strict=True)], asked.flops)
        for moves in product(*map(_moves, pair, runs))
    ]
    clm, mlm = (
        _answer(asked, laws, run, [other[k] for other in others])
        for k, (laws, run) in enumerate(zip(pair, runs, strict=True))
    )
    return clm, mlm


def _divided(surfaces: Sequence[Surface], flops: float) -> list[Run]:
    """The runs of one size that are optima of their shares of `flops`."""
    low, high = 1.0, flops
    for _ in range(100):
        n = math.sqrt(low * high)
        enough = sum(surface.flops_of_size(n) for surface in surfaces) <= flops
        low, high = (n, high) if enough else (low, n)
    return [Run(low, surface.flops_of_size(low) / (6 * low)) for surface in surfaces]


def _moves(laws: Laws, run: Run) -> list[float]:
    """Where the optima may lie in place of the estimate: factors of the size. None are known
    without an interval."""
    size = laws.size(run.flops)
    return [end / size.value for end in (size.interval or ())]


def _answer(asked: Given, laws: Laws, run: Run, others: Sequence[Run]) -> Answer:
    """What is said of one of the two, whose run is one of `others` if optima lie elsewhere."""
    assert asked.flops is not None
    said = answer(Case(asked._replace(flops=run.flops), laws))
    share = percent(round(run.flops / asked.flops, 3))
    said.notes.insert(0, f"one of two models of this size; it takes {share} of the compute")
    n, tokens, flops = (
        Estimate(value, around(value, (min(*ends, value), max(*ends, value))) if others else None)
        for value, ends in zip(
            run.all, zip(*(r.all for r in (run, *others)), strict=True), strict=True
        )
    )
    return replace(said, n_params=n, tokens=tokens, flops=flops)
