"""The best mask ratio of masked training: a parabola in ln ratio, per size and pooled.

Near its best a loss is quadratic in ln r: L = L_best + q·ln(r/ratio)², with L_best of each size
(N, D) its own. Ratios whose loss lies more than 0.06 nats above the best of their size are left
out, as far wings are not quadratic.

Intervals: each resample adds noise to the fitted losses and picks one of the windows (runs of at
least four neighbouring ratios that hold the best one and its neighbours), so that they carry the
choice of window too. The noise is the residual scatter about the parabola, with its own uncertainty
of few degrees of freedom, and never less than what the evaluations of a run scatter by.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typing_extensions import TypedDict

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import as_floats, check_lengths, check_runs
from plm_scaling.laws.details import Bootstrap, HeldOut, NotAvailable, not_available
from plm_scaling.laws.mask_ratio.parabola import MIN_RATIOS, Ladder, fit_vertices, resample_vertices
from plm_scaling.laws.points import columns
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.intervals import Floats, Interval, check_settings, percentile_interval
from plm_scaling.laws.stats.noise import evaluation_noise
from plm_scaling.laws.status import Check, Minimum

WINDOW = 0.06  # nats above the best loss of the size
METHOD = (
    f"quadratic in ln(ratio) with one vertex and curvature for all sizes, through losses within "
    f"{WINDOW} nats of each size's best; intervals by resampling residual scatter (at least the "
    "evaluation noise) and the window of ratios; residual_rms in nats, objective_value the sum of "
    "squares"
)
RESAMPLED = "residual scatter and the window of ratios"
FORM = "L_best(N, D) + q*ln(r/ratio)^2"
VALIDATION_WARNING = (
    "the table does not say which ratio the held-out loss was measured with; if each run was "
    "validated at its own training ratio, losses at different ratios cannot be compared and the "
    "best ratio means nothing"
)
NOT_INSIDE = "the sizes together have no best ratio inside those trained"
ONE_RUN_WARNING = (
    "one run per ratio: the scatter between repeated runs is not in the evaluation noise, so "
    "ratios called different may be alike"
)


class RatioRow(TypedDict):
    """A run: its loss (nats/token), whether the parabola is fitted to it, and whether scatter may
    explain what it is above the best."""

    mask_ratio: float
    loss: float
    above_best: float
    fitted: bool
    within_noise: bool


class SizeRow(TypedDict):
    """One size by itself; `within_noise_below` (nats) is what two runs may differ by."""

    n_params: float
    tokens: float
    ratio: float | None
    ratio_interval: Interval | None
    loss: float | None
    q: float | None
    status: Minimum
    residual_rms: float | None
    evaluation_noise: float | None
    within_noise_below: float | None
    ratios: list[RatioRow]


class BestRatio(TypedDict):
    """Of the size of largest compute: its own, and that of the others."""

    measured: float | None
    predicted: float


class RmsError(TypedDict):
    """Of the shape of the parabola, nats."""

    rms_error: float


class HeldOutSize(HeldOut):
    """The size of largest compute predicted from the others."""

    ratio: BestRatio
    loss: RmsError


class Details(TypedDict):
    """The tables of a mask-ratio law."""

    sizes: list[SizeRow]
    held_out: HeldOutSize | NotAvailable
    bootstrap: Bootstrap


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that are in its groups: see `study.laws`."""
    taken = mask_ratio_runs(runs, curves)
    arrays = columns(taken, "n_params", "tokens", "mask_ratio", "loss", "noise")
    result = fit_mask_ratio(**arrays, **settings.resampling)
    result.taken = set(taken["run_id"])
    return result


def mask_ratio_runs(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> pd.DataFrame:
    """The runs that have a mask ratio, in groups of one size, corpus and number of tokens with at
    least four ratios.

    `noise` is measured from `curves`, NaN without them. Raises LawError if there is no such group.
    """
    used = runs[runs["mask_ratio"].notna()]
    groups = []
    for _, same in used.groupby(["objective", "corpus"]):
        for _, rows in _groups(**columns(same, "n_params", "tokens", "mask_ratio")):
            group = same.iloc[rows]
            groups.append(group.assign(noise=evaluation_noise(curves, list(group["run_id"]))))
    if not groups:
        raise LawError(
            f"no size has {MIN_RATIOS} mask ratios at equal tokens; train one with at least "
            f"{MIN_RATIOS} ratios around 0.15"
        )
    return pd.concat(groups)


def fit_mask_ratio(
    n_params: Floats,
    tokens: Floats,
    mask_ratio: Floats,
    loss: Floats,
    noise: Floats | None = None,
    *,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Find the best mask ratio of runs, all arrays of shape (n,).

    `n_params` non-embedding, `tokens` of training, `mask_ratio` a share, `loss` in nats/token,
    `noise` the standard error of each loss against the others of its size, nats (NaN or None:
    unknown). Sizes with fewer than four ratios are refused. Raises LawError on values that are not
    positive and finite, or if no size has four ratios.
    """
    check_settings(bootstrap, level)
    n_params, tokens, mask_ratio, loss = check_runs(
        n_params=n_params, tokens=tokens, mask_ratio=mask_ratio, loss=loss
    )
    error = np.full(len(loss), np.nan) if noise is None else as_floats("noise", noise)
    check_lengths(loss=loss, noise=error)
    ladders = [
        Ladder.of(n, float(tokens[i].mean()), mask_ratio[i], loss[i], error[i], WINDOW)
        for n, i in _groups(n_params, tokens, mask_ratio)
    ]
    if not ladders:
        raise LawError(
            f"no size has {MIN_RATIOS} mask ratios at equal tokens; a parabola needs them"
        )
    rng = np.random.default_rng(seed)
    pooled = fit_vertices(ladders)
    sizes = [_size(ladder, bootstrap, level, rng) for ladder in ladders]
    inside = pooled.inside
    log_ratio, curvature = resample_vertices(ladders, pooled, bootstrap, rng)
    interval: dict[str, Interval | None] = {"ratio": None, "q": None}
    if inside:
        interval = {
            "ratio": _ratio_interval(log_ratio, level),
            "q": percentile_interval(curvature, level),
        }
    values = {"ratio": pooled.ratio, "q": pooled.curvature if inside else None}
    return LawResult(
        law="mask_ratio",
        method=METHOD,
        n_points=sum(int(ladder.windows[0].sum()) for ladder in ladders),
        equations={"L": Equation(FORM, values, interval, level)},
        objective_value=pooled.squares,
        residual_rms=pooled.rms,
        warnings=_warnings(ladders, sizes, noise is None or bool(np.isnan(error).all())),
        details={
            "sizes": sizes,
            "held_out": _held_out(ladders),
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap, "seed": seed},
        },
        evidence={"undetermined": _undetermined(ladders, inside, interval)},
    )


def _ratio_interval(log_ratio: Floats, level: float) -> Interval | None:
    """Of the best ratio, from its logarithms; None where an end is no finite number."""
    with np.errstate(over="ignore"):
        return percentile_interval(np.exp(log_ratio), level)


def _undetermined(
    ladders: list[Ladder], inside: bool, interval: dict[str, Interval | None]
) -> list[str]:
    """Why the runs do not say which ratio is best: no minimum, one that noise could have made, or
    one that noise could move out of the ratios tried."""
    if not inside:
        return [NOT_INSIDE]
    said = []
    if (of_q := interval["q"]) is not None and of_q[0] <= 0:
        said.append(
            f"the interval of the curvature q ({of_q[0]:.2g} to {of_q[1]:.2g} nats) holds 0: the "
            "losses hardly depend on the ratio, noise decides which is best"
        )
    tried = np.concatenate([ladder.ratio for ladder in ladders])
    least, most = float(tried.min()), float(tried.max())
    own = interval["ratio"]
    if own is not None and not (least <= own[0] and own[1] <= most):
        said.append(
            f"the interval of the best ratio ({own[0]:.2g} to {own[1]:.2g}) leaves those tried "
            f"({least:g} to {most:g}): try further ones, or more seeds"
        )
    return said


def _groups(
    n_params: Floats, tokens: Floats, mask_ratio: Floats
) -> list[tuple[float, NDArray[np.int64]]]:
    """(N, indices) of the sizes with enough ratios at equal tokens, by rising N."""
    groups = []
    for n in np.unique(n_params):
        same = np.flatnonzero(n_params == n)
        for _, rows in group_budgets(tokens[same]):
            if len(np.unique(mask_ratio[same[rows]])) >= MIN_RATIOS:
                groups.append((float(n), same[rows]))
    return groups


def _size(ladder: Ladder, bootstrap: int, level: float, rng: np.random.Generator) -> SizeRow:
    """The row of one size: its best ratio with interval, and which ratios are as good."""
    fit = fit_vertices([ladder])
    log_ratio, _ = resample_vertices([ladder], fit, bootstrap, rng)
    interval = _ratio_interval(log_ratio, level) if fit.inside else None
    scatter = max(fit.rms or 0.0, ladder.noise)
    limit = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(2) * scatter
    best = ladder.loss.min()
    return {
        "n_params": ladder.n_params,
        "tokens": ladder.tokens,
        "ratio": fit.ratio,
        "ratio_interval": interval,
        "loss": fit.least_loss if fit.inside else None,
        "q": fit.curvature if fit.inside else None,
        "status": Minimum.ACCEPTED if fit.inside else Minimum.OUTSIDE_RATIOS,
        "residual_rms": fit.rms,
        "evaluation_noise": ladder.noise or None,
        "within_noise_below": float(limit) if scatter else None,
        "ratios": [
            {
                "mask_ratio": float(ladder.ratio[i]),
                "loss": float(ladder.loss[i]),
                "above_best": float(ladder.loss[i] - best),
                "fitted": bool(ladder.windows[0][i]),
                "within_noise": bool(ladder.loss[i] - best <= limit),
            }
            for i in np.argsort(ladder.ratio, kind="stable")
        ],
    }


def _held_out(ladders: list[Ladder]) -> HeldOutSize | NotAvailable:
    """The size of largest compute, predicted with the best ratio and curvature of the others."""
    ordered = sorted(ladders, key=lambda ladder: ladder.flops)
    if len(ordered) < 2:
        return not_available("one size; two are needed to predict one")
    last = ordered[-1]
    fit, own = fit_vertices(ordered[:-1]), fit_vertices([last])
    if not fit.inside:
        return not_available("the sizes of smaller compute show no best ratio")
    chosen = last.windows[0]
    shape = fit.curvature * (np.log(last.ratio[chosen]) - fit.log_ratio) ** 2
    error = shape - last.loss[chosen]
    error = error - error.mean()  # the level of the loss is each size's own
    return {
        "status": Check.DONE,
        "fitted_on_flops": [ladder.flops for ladder in ordered[:-1]],
        "predicted_at_flops": last.flops,
        "ratio": {"measured": own.ratio, "predicted": float(np.exp(fit.log_ratio))},
        "loss": {"rms_error": rms(error)},
    }


def _warnings(ladders: list[Ladder], sizes: list[SizeRow], unknown_noise: bool) -> list[str]:
    warnings = [VALIDATION_WARNING]
    if all(len(np.unique(ladder.ratio)) == len(ladder.ratio) for ladder in ladders):
        warnings.append(ONE_RUN_WARNING)
    if unknown_noise:
        warnings.append("no learning curves were given, so the evaluation noise is not measured")
    warnings += [
        f"N={size['n_params']:.3g}: {size['status']}" for size in sizes if size["ratio"] is None
    ]
    return warnings
