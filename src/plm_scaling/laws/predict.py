"""What a law predicts: the optimum at a compute, the loss of a size and tokens; with intervals."""

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.parametric.fit import predict_loss
from plm_scaling.laws.parametric.implied import surface_loss
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.stats.intervals import Floats, percentile_interval
from plm_scaling.laws.stats.loss_law import loss_law_of
from plm_scaling.laws.status import Status
from plm_scaling.laws.text import law_lines, law_sentence
from plm_scaling.laws.verdict import around

logger = logging.getLogger("plm_scaling")

UNSURE = (Status.NOT_IDENTIFIED, Status.CONTRADICTED)
ROUNDING = 1e-9  # relative; the ends of a range belong to it


def predict(law: LawResult, flops: Any, n: Any, d: Any) -> pd.DataFrame:
    """One row per number given.

    Of `flops`: n_params, tokens and loss (nats/token) at the optimum. Of `n` and `d` (parameters,
    tokens): the loss, by a parametric law. `X_low` and `X_high` are the ends of intervals at the
    law's level, NaN where unknown; `extrapolated` says whether the runs reach there. A law that is
    not identified or contradicted says so in the log. Raises LawError where it has no numbers.
    """
    if (flops is None) == (n is None and d is None) or (n is None) != (d is None):
        raise LawError("predict: give either flops, or n (parameters) and d (tokens)")
    given = {"flops": flops} if n is None else {"n_params": n, "tokens": d}
    columns = check_runs(**dict(zip(given, _broadcast(given.values()), strict=True)))
    if law.status in UNSURE:
        logger.warning("[laws] %s", law_lines(law)[0])
    return optimum(law, *columns) if n is None else _loss_of(law, *columns)


def _broadcast(values: Any) -> list[Any]:
    """Numbers and columns as columns of one length, by position."""
    return list(np.broadcast_arrays(*(np.atleast_1d(np.asarray(v)) for v in values)))


def optimum(law: LawResult, flops: Floats) -> pd.DataFrame:
    """`predict` of compute alone, without a word on the law's status."""
    rows = law.details.get("frontier") or []
    if not {"N", "D", "L"} <= set(law.equations):
        raise LawError(f"a law of {law.law} predicts no optimum; isoflop, frontier, parametric do")
    if not rows:
        raise LawError(f"nothing to predict with: {law_sentence(law)}")
    table = pd.DataFrame({"flops": flops})
    values = {"n_params": _power(law.equations["N"], flops)}
    values["tokens"] = _power(law.equations["D"], flops)
    if "alpha" in law.equations["L"].parameters:
        values["loss"] = predict_loss(law, values["n_params"], values["tokens"])
    else:
        loss = loss_law_of(law.equations["L"])
        values["loss"] = np.full(len(flops), np.nan) if loss is None else loss(flops)
    log_c = np.log([row["flops"] for row in rows])
    for name, value in values.items():
        ends = [row[f"{name}_interval"] or (np.nan, np.nan) for row in rows]
        low, high = (
            np.exp(np.interp(np.log(flops), log_c, np.log(end), np.nan, np.nan))
            for end in np.transpose(ends)
        )
        table = table.assign(**_with_interval(name, value, low, high))
    return table.assign(extrapolated=_outside(flops, _fitted(law)))


def _fitted(law: LawResult) -> list[float]:
    """The FLOPs of the frontier table between the smallest and the largest budget."""
    rows = law.details.get("frontier") or []
    return [row["flops"] for row in rows if not row["extrapolated"]]


def _power(equation: Equation, flops: Floats) -> Floats:
    """k·C^p; NaN where it is not identified."""
    k, p = equation.parameters.values()
    return np.full(len(flops), np.nan) if k is None or p is None else k * flops**p


def _loss_of(law: LawResult, n_params: Floats, tokens: Floats) -> pd.DataFrame:
    if "alpha" not in law.equations.get("L", Equation("", {}, {}, 0)).parameters:
        raise LawError(
            f"an {law.law} law knows no loss of n and d off its optimum; give flops, or fit a "
            "parametric law"
        )
    loss = predict_loss(law, n_params, tokens)
    flops = 6 * n_params * tokens
    level = law.equations["L"].level
    low, high = np.full((2, len(loss)), np.nan)
    if draws := law.details.get("draws"):
        natural = np.array(draws, float).T[:, :, None]
        found = surface_loss(natural, n_params, tokens)
        ends = [percentile_interval(column, level) or (np.nan, np.nan) for column in found.T]
        low, high = np.transpose(ends)
    table = pd.DataFrame({"n_params": n_params, "tokens": tokens, "flops": flops})
    runs = pd.DataFrame(law.runs, columns=["n_params", "tokens"])
    outside = _outside(flops, _fitted(law))
    for name in runs:
        outside |= _outside(table[name].to_numpy(), list(runs[name]))
    return table.assign(**_with_interval("loss", loss, low, high), extrapolated=outside)


def _with_interval(name: str, value: Floats, low: Floats, high: Floats) -> dict[str, Floats]:
    """The columns of an estimate; an interval that does not hold it is none."""
    kept = [
        around(v, ends) or (np.nan, np.nan)
        for v, ends in zip(value, zip(low, high, strict=True), strict=True)
    ]
    low, high = np.transpose(kept)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _outside(values: Floats, known: list[float]) -> NDArray[np.bool_]:
    """Whether each value lies beyond all known ones; no where nothing is known."""
    if not known:
        return np.zeros(len(values), bool)
    low, high = min(known) * (1 - ROUNDING), max(known) * (1 + ROUNDING)
    return (values < low) | (values > high)
