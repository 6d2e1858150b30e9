"""The best peak learning rate as a power law of N and D, and what other rates cost.

At one N, D and batch B the loss is quadratic in ln rate near the best: level + q·ln(rate/best)²,
with level and best rate of each (N, D, B) its own and one q for all. Through the best rates goes
rate = k·N^α·D^β, times (B/B₀)^δ where batches vary; B₀ is the most common one. (Step Law's form,
arXiv 2503.04715.) Losses more than 0.06 nats above the best of their (N, D, B) are left out, as far
wings are not quadratic; where the best is not inside the rates tried there is none. Where three
batches or more were tried, the best of them follows in the same way (`batch`).

Intervals: by the scatter of the best rates about the law, or what the noise of the losses makes
them scatter by, if that is more, as Student's t of its degrees of freedom.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import as_floats, check_lengths, check_runs
from plm_scaling.laws.details import NotAvailable
from plm_scaling.laws.points import columns, of_others
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.intervals import Floats, check_settings
from plm_scaling.laws.stats.noise import evaluation_noise
from plm_scaling.laws.status import Check, Minimum, Status
from plm_scaling.laws.tuning.batch import batch_law
from plm_scaling.laws.tuning.bowls import MIN_RATES, WINDOW, Bowls, groups_of
from plm_scaling.laws.tuning.cost import held_out_rate, used_values
from plm_scaling.laws.tuning.details import (
    BatchLaw,
    Details,
    GroupRow,
)
from plm_scaling.laws.tuning.law import Best, Row
from plm_scaling.study.sweep_table import TUNING

METHOD = (
    f"quadratic in ln(rate) with one curvature, through losses within {WINDOW} nats of the best at "
    "each N, D and batch; a plane in ln N and ln D through the best rates, all alike; intervals by "
    "their scatter about it, at least what the noise of the losses explains; residual_rms in nats "
    "about the parabolas, objective_value their sum of squares"
)
RESAMPLED = "scatter of the best rates about the law"
NEEDED = ("n_params", "tokens", "batch_tokens", "peak_learning_rate")


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that say rate and batch, of the weight decay that most share; its table
    `used` is of those of the sweep."""
    told = runs[runs[list(NEEDED)].notna().all(axis=1)]
    told = told[of_others(told, pd.Series("", told.index), ("weight_decay",)) == ""]
    arrays = columns(told, *NEEDED, "loss")
    n, d, b, rate, loss = arrays.values()
    groups = groups_of(n, d, b, rate, loss, MIN_RATES)
    noise = evaluation_noise(curves, list(told["run_id"]))
    swept = (told["part"] != TUNING).to_numpy()
    result = fit_tuning(**arrays, noise=noise, swept=swept, **settings.resampling)
    result.taken = {str(told["run_id"].iloc[i]) for group in groups for i in group.members}
    return result


def fit_tuning(
    n_params: Floats,
    tokens: Floats,
    batch_tokens: Floats,
    peak_learning_rate: Floats,
    loss: Floats,
    noise: Floats | None = None,
    swept: NDArray[np.bool_] | None = None,
    *,
    bootstrap: int = DEFAULT.bootstrap,
    level: float = DEFAULT.level,
    seed: int = DEFAULT.seed,
) -> LawResult[Details]:
    """Find the law of the best learning rate of runs, all arrays of shape (n,).

    `n_params` non-embedding, `tokens` of training, `batch_tokens` of a step, `peak_learning_rate`,
    `loss` in nats/token, `noise` the standard error of each loss, nats (NaN or None: unknown),
    `swept` whether a run's rate is to be held against the law (None: all). Raises LawError on
    values that are not positive and finite, or if no (N, D, batch) has four rates.
    """
    check_settings(bootstrap, level)
    n, d, b, rate, loss = check_runs(
        n_params=n_params, tokens=tokens, batch_tokens=batch_tokens,
        peak_learning_rate=peak_learning_rate, loss=loss,
    )  # fmt: skip
    error = np.full(len(loss), np.nan) if noise is None else as_floats("noise", noise)
    held = np.ones(len(loss), bool) if swept is None else np.asarray(swept, bool)
    check_lengths(loss=loss, noise=error, swept=held)
    groups = groups_of(n, d, b, rate, loss, MIN_RATES)
    if not groups:
        raise LawError(
            f"no size has {MIN_RATES} learning rates at equal tokens and batch; train such cells "
            "(sweep.tuning)"
        )
    bowls = Bowls.around(groups, rate, loss)
    known = error[np.isfinite(error)]
    quiet = float(np.sqrt((known**2).mean())) if len(known) else 0.0
    common = pd.Series(b).mode()  # rising; of equally common ones the middle
    best = Best("rate", bowls, float(common.iloc[len(common) // 2]), quiet, level)
    rng = np.random.default_rng(seed)
    drawn = best.drawn(bootstrap, rng)
    equation, check = best.equation(drawn), held_out_rate(best)
    of_batch, batch = batch_law(best, (n, d, b), held, bootstrap, rng)
    equations = {"rate": equation, "excess": best.excess()}
    return LawResult(
        law="tuning",
        method=METHOD,
        n_points=len(bowls.loss),
        equations=equations | ({"batch": of_batch} if of_batch else {}),
        objective_value=bowls.squares,
        residual_rms=float(np.sqrt(bowls.squares / bowls.freedom)) if bowls.freedom > 0 else None,
        warnings=_warnings(best, batch),
        details={
            "batch_tokens": best.usual,
            "config": best.block(equation),
            "groups": [_row(row) for row in best.rows(rate, loss)],
            "used": [
                {"peak_learning_rate": value, "law_rate": law, **costs}
                for value, law, costs in used_values(best, drawn, (n, d, b, rate), held)
            ],
            "held_out": check,
            "batch": batch,
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap, "seed": seed},
        },
        evidence=best.evidence(equation, check),
    )


def _row(row: Row) -> GroupRow:
    return {
        "n_params": row.group.n_params,
        "tokens": row.group.tokens,
        "batch_tokens": row.group.batch_tokens,
        "best_rate": row.best,
        "loss": row.loss,
        "law_rate": row.law,
        "excess": row.excess,
        "status": Minimum.OUTSIDE_RATES if row.best is None else Minimum.ACCEPTED,
        "rates": [
            {"peak_learning_rate": rate, "loss": loss, "fitted": fitted}
            for rate, loss, fitted in row.tried
        ],
    }


def _warnings(best: Best, batch: BatchLaw | NotAvailable) -> list[str]:
    bowls = best.bowls
    outside = [g for g, inside in zip(bowls.groups, bowls.inside, strict=True) if not inside]
    warnings = [
        f"N={g.n_params:.3g}, D={g.tokens:.3g}: the best rate is not inside those tried; try "
        "further ones"
        for g in outside
    ]
    if "delta" in best.line.names:
        warnings.append(f"k, alpha and beta are for batches of {best.usual:.4g} tokens (B0)")
    if batch["status"] not in (Check.NOT_AVAILABLE, Status.CONVERGED):
        status = batch["status"].replace("_", " ")
        warnings.append(f"the law of the best batch is {status}: {batch['reason']}")
    return warnings
