"""Checks of a law of scores: size at equal loss, the largest budget held out, scores at budgets."""

from statistics import NormalDist
from typing import Any, Literal, NotRequired

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.downstream.law.forms import Form, choose_form, fit_form
from plm_scaling.downstream.law.resample import Fitted, fit_resampled, scale_of
from plm_scaling.downstream.law.series import Series
from plm_scaling.downstream.law.verdict import FEWEST_CELLS
from plm_scaling.laws.details import HeldOut, NotAvailable, not_available
from plm_scaling.laws.predict import optimum
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval
from plm_scaling.laws.status import Check

LEAST_OWN = 0.02  # of the variance of ln N, that the loss does not explain
TIMES = (1.0, 10.0)  # the largest budget, at which scores are predicted


class SizeAtEqualLoss(TypedDict):
    """How much the score rises by ten times the parameters at the same loss; `own_share` is what of
    the variance of ln N the loss leaves over."""

    status: Literal[Check.DONE]
    per_tenfold: float
    per_tenfold_interval: Interval | None
    own_share: float


class HeldOutScore(TypedDict):
    """A cell of the largest budget, predicted at its loss by the law of the others."""

    model: str
    loss: float
    measured: float
    predicted: float
    predicted_interval: Interval | None
    inside: bool | None


class HeldOutScores(HeldOut):
    """The largest budget, predicted by a fit without it."""

    scores: list[HeldOutScore]


class AtBudget(TypedDict):
    """The score at a compute, by a law of the loss."""

    flops: float
    loss: float
    score: float
    score_interval: Interval | None
    extrapolated: bool
    """The loss is lower than that of every cell."""
    note: NotRequired[str]


def size_at_equal_loss(fitted: Fitted) -> SizeAtEqualLoss | NotAvailable:
    """The coefficient of ln N beside the form in L, its rate kept, in all cells and resamples."""
    series = fitted.series
    middle, half = fitted.scale
    x, log_n = (series.loss - middle) / half, np.log(series.n_params)
    one = fitted.own
    target = series.score - (0 if one.begins is None else one.begins[0])
    all_cells = np.ones((1, len(x)))
    smooth = fit_form(Form.PARABOLA, x, log_n[None], all_cells, None).at(x)[0]
    share = float(((log_n - smooth) ** 2).sum() / max(((log_n - log_n.mean()) ** 2).sum(), 1e-300))
    if not share >= LEAST_OWN:
        return not_available(
            "the loss says the size: larger cells have lower losses throughout; evaluate cells "
            "off the frontier (`downstream.cells: all`)"
        )
    own = _without(fitted, x, log_n[None], all_cells)[0]
    slope = float(own @ target / (own @ own) * np.log(10))
    drawn_n = _without(fitted, x, np.broadcast_to(log_n, fitted.weights.shape), fitted.weights)
    moved = fitted.scores - (0 if fitted.drawn.begins is None else fitted.drawn.begins)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (fitted.weights * drawn_n * moved).sum(1) / (fitted.weights * drawn_n**2).sum(1)
    drawn[~np.isfinite(drawn)] = np.nan
    return {
        "status": Check.DONE,
        "per_tenfold": slope,
        "per_tenfold_interval": fitted.interval(drawn * np.log(10)),
        "own_share": share,
    }


def _without(fitted: Fitted, x: Floats, log_n: Floats, weights: Floats) -> Floats:
    """ln N (b, n) less what the functions of the loss in the form explain of it."""
    form = fitted.own.form
    if form != Form.EXPONENTIAL:
        return np.asarray(log_n - fit_form(form, x, log_n, weights, None).at(x))
    basis = np.stack([np.ones_like(x), np.exp(-fitted.own.rate[0] * x)], -1)
    normal = np.einsum("bn,ni,nj->bij", weights, basis, basis)
    right = np.einsum("bn,ni,bn->bi", weights, basis, log_n)
    return np.asarray(log_n - np.einsum("ni,bi->bn", basis, _solved(normal, right)))


def _solved(normal: Floats, right: Floats) -> Floats:
    return np.einsum("bij,bj->bi", np.linalg.pinv(normal), right)


def held_out_budget(series: Series, settings: Settings) -> HeldOutScores | NotAvailable:
    """The cells of the largest budget by the law of the others."""
    budgets = group_budgets(series.flops)
    if len(budgets) < 2:
        return not_available("one budget; two are needed to predict one")
    largest, members = budgets[-1]
    kept = np.ones(len(series.loss), bool)
    kept[members] = False
    if kept.sum() < FEWEST_CELLS - 1:
        return not_available(f"{kept.sum()} cells at smaller budgets; too few for a law")
    rest, last = series.take(kept), series.take(~kept)
    if np.ptp(rest.loss) <= 0:
        return not_available("the cells at smaller budgets have one loss")
    middle, half = scale_of(rest.loss)
    form, _ = choose_form((rest.loss - middle) / half, rest.score, rest.begins)
    fitted = fit_resampled(rest, form, settings)
    rng = np.random.default_rng(settings.seed + 1)
    scatter = rms(rest.score - fitted.at(rest.loss)[0])
    rows: list[HeldOutScore] = []
    for i, model in enumerate(last.model):
        begins = None if last.begins is None else float(last.begins[i])
        value, drawn = fitted.at(last.loss[i : i + 1], begins)
        noise = np.hypot(last.error[i], scatter) * rng.standard_normal(len(drawn))
        ends = fitted.interval(drawn[:, 0] + noise)
        measured = float(last.score[i])
        rows.append(
            {
                "model": model,
                "loss": float(last.loss[i]),
                "measured": measured,
                "predicted": float(value[0]),
                "predicted_interval": ends,
                "inside": None if ends is None else ends[0] <= measured <= ends[1],
            }
        )
    return {
        "status": Check.DONE,
        "fitted_on_flops": [flops for flops, _ in budgets[:-1]],
        "predicted_at_flops": largest,
        "scores": rows,
    }


def losses_at_budgets(frontier: LawResult | None, largest: float) -> pd.DataFrame:
    """What a law of the loss predicts at the largest budget (FLOPs) and beyond; no rows without one
    that does."""
    try:  # how sure that law is, its own file says
        table = None if frontier is None else optimum(frontier, largest * np.array(TIMES))
    except LawError:
        table = None
    return pd.DataFrame() if table is None else table[table["loss"].notna()]


def at_budgets(fitted: Fitted, losses: pd.DataFrame) -> list[AtBudget]:
    """The score at each row of `losses_at_budgets`; the interval holds that of the loss."""
    rng = np.random.default_rng(2)
    rows: list[AtBudget] = []
    for row in losses.to_dict("records"):
        loss, drawn = float(row["loss"]), fitted.at(np.array([row["loss"]]))[1]
        ends: Interval | None = None
        width = row["loss_high"] - row["loss_low"]
        if np.isfinite(width) and len(drawn):
            z = NormalDist().inv_cdf((1 + fitted.level) / 2)
            each = loss + width / (2 * z) * rng.standard_normal((len(drawn), 1))
            ends = percentile_interval(_each(fitted, each), fitted.level)
        rows.append(
            {
                "flops": float(row["flops"]),
                "loss": loss,
                "score": float(fitted.at(np.array([loss]))[0][0]),
                "score_interval": ends,
                "extrapolated": loss < float(fitted.series.loss.min()),
            }
        )
    return rows


def _each(fitted: Fitted, losses: Floats) -> Floats:
    """The score (b,) of each resample at its own loss (b, 1)."""
    middle, half = fitted.scale
    fits: Any = fitted.drawn
    begins = None if fits.begins is None else fits.begins.mean(axis=1, keepdims=True)
    return np.asarray(fits.at((losses - middle) / half, begins)[:, 0])
