"""The best peak learning rate as a power law of N and D, and what other rates cost.

At one N, D and batch B the loss is quadratic in ln rate near the best: level + q·ln(rate/best)²,
with level and best rate of each (N, D, B) its own and one q for all. Through the best rates goes
rate = k·N^α·D^β, times (B/B₀)^δ where batches vary; B₀ is the most common one. (Step Law's form,
arXiv 2503.04715.) Losses more than 0.06 nats above the best of their (N, D, B) are left out, as far
wings are not quadratic; where the best is not inside the rates tried there is none.

Intervals: by the scatter of the best rates about the law, or what the noise of the losses makes
them scatter by, if that is more, as Student's t of its degrees of freedom.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import as_floats, check_lengths, check_runs
from plm_scaling.laws.details import NotAvailable
from plm_scaling.laws.points import columns, of_others
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.settings import DEFAULT, Settings
from plm_scaling.laws.stats.intervals import Floats, Interval, check_settings, percentile_interval
from plm_scaling.laws.stats.noise import evaluation_noise
from plm_scaling.laws.status import Check, Evidence
from plm_scaling.laws.tuning.cost import held_out, used_rows
from plm_scaling.laws.tuning.details import ConfigBlock, Details, HeldOutRate, group_rows
from plm_scaling.laws.tuning.line import Line
from plm_scaling.laws.tuning.rates import MIN_RATES, WINDOW, Bowls, rate_groups
from plm_scaling.study.sweep_table import TUNING

METHOD = (
    f"quadratic in ln(rate) with one curvature, through losses within {WINDOW} nats of the best at "
    "each N, D and batch; a plane in ln N and ln D through the best rates, all alike; intervals by "
    "their scatter about it, at least what the noise of the losses explains; residual_rms in nats "
    "about the parabolas, objective_value their sum of squares"
)
RESAMPLED = "scatter of the best rates about the law"
FORM, BATCH_FORM = "k*N^alpha*D^beta", "k*N^alpha*D^beta*(B/B0)^delta"
COST = 0.005  # nats that following the law may cost: less than two runs of one setting differ by
WIDE = 0.2  # of an exponent; at the curvatures that are usual a decade away costs 0.01 nats
NEEDED = ("n_params", "tokens", "batch_tokens", "peak_learning_rate")


def fit_tables(
    runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Settings
) -> LawResult[Details]:
    """The law of the `runs` that say rate and batch, of the weight decay that most share; its table
    `used` is of those of the sweep."""
    told = runs[runs[list(NEEDED)].notna().all(axis=1)]
    told = told[of_others(told, pd.Series("", told.index), ("weight_decay",)) == ""]
    arrays = columns(told, *NEEDED, "loss")
    groups = rate_groups(**{n.replace("peak_learning_", ""): v for n, v in arrays.items()})
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
    groups = rate_groups(n, d, b, rate, loss)
    if not groups:
        raise LawError(
            f"no size has {MIN_RATES} learning rates at equal tokens and batch; train such cells "
            "(sweep.tuning)"
        )
    bowls = Bowls.around(groups, rate, loss)
    known = error[np.isfinite(error)]
    quiet = float(np.sqrt((known**2).mean())) if len(known) else 0.0
    common = pd.Series(b).mode()  # rising; of equally common ones the middle
    usual = float(common.iloc[len(common) // 2])
    line = _line(bowls, usual)
    undetermined = _undetermined(bowls, line)
    rng = np.random.default_rng(seed)
    variances = bowls.variances(quiet)[bowls.inside]
    explained = float(np.nan_to_num(variances).mean()) if len(variances) else 0.0
    drawn = np.empty((0, len(line.names)))
    if not undetermined and bootstrap:
        drawn = line.drawn(explained, bootstrap, rng)
    check = held_out(bowls, line, usual, level)
    found = None if undetermined else line
    equation = _equation(line, drawn, level, known=not undetermined)
    return LawResult(
        law="tuning",
        method=METHOD,
        n_points=len(bowls.loss),
        equations={"rate": equation, "excess": _excess(bowls, quiet, level)},
        objective_value=bowls.squares,
        residual_rms=float(np.sqrt(bowls.squares / bowls.freedom)) if bowls.freedom > 0 else None,
        warnings=_warnings(bowls, line, usual),
        details={
            "batch_tokens": usual,
            "config": _block(equation, usual),
            "groups": group_rows(bowls, found, usual, rate, loss),
            "used": used_rows(bowls, found, drawn, usual, level, (n, d, b, rate), held),
            "held_out": check,
            "bootstrap": {"kind": RESAMPLED, "resamples": bootstrap, "seed": seed},
        },
        evidence=_evidence(bowls.best[2], line, undetermined, equation, explained, check),
    )


def _evidence(
    q: float,
    line: Line,
    undetermined: str,
    equation: Equation,
    explained: float,
    check: HeldOutRate | NotAvailable,
) -> Evidence:
    """What the fit knows of itself: `explained` of the best rates' variance is noise's."""
    if undetermined:
        return {"undetermined": [undetermined]}
    evidence: Evidence = {
        "misfit": {
            "what": "what following the law in place of the best rates costs",
            "value": q * max(0.0, line.variance - explained),
            "allowed": COST,
            "unit": "nats",
        }
    }
    evidence["undetermined"] = [
        f"the interval of {name} ({known[1]:.2f} to {known[2]:.2f}) spans more than ±{WIDE}: a "
        f"decade of {what} away the best rate is not known to a factor of {10**WIDE:.1f}"
        for name, what in (("alpha", "N"), ("beta", "D"))
        if (known := equation.known(name)) and known[2] - known[1] > 2 * WIDE
    ]
    if check["status"] == Check.DONE:
        evidence["held_out"] = {
            "what": "what the rate predicted for the largest compute costs",
            "value": check["loss"]["excess"],
            "allowed": COST + check["loss"]["allowed_by_noise"],
            "unit": "nats",
        }
    return evidence


def _line(bowls: Bowls, usual: float) -> Line:
    own = [g for g, inside in zip(bowls.groups, bowls.inside, strict=True) if inside]
    n, d, b = (
        np.log([getattr(g, name) for g in own]) for name in ("n_params", "tokens", "batch_tokens")
    )
    return Line(n, d, b - np.log(usual), bowls.best[0][bowls.inside])


def _undetermined(bowls: Bowls, line: Line) -> str:
    """Why there is no law of the best rate; '' if there is one."""
    inside = int(bowls.inside.sum())
    if not bowls.best[2] > 0 or not inside:
        return "no (N, D) has a best rate inside those tried"
    if line.freedom < 1:
        return (
            f"{inside} (N, D) have a best rate inside those tried, and {len(line.names) + 1} are "
            "needed for a law that they can contradict"
        )
    return line.undetermined


def _equation(line: Line, drawn: Floats, level: float, known: bool) -> Equation:
    form = BATCH_FORM if "delta" in line.names else FORM
    values: dict[str, float | None] = dict.fromkeys(line.names)
    interval: dict[str, Interval | None] = dict.fromkeys(line.names)
    if known:
        values = dict(zip(line.names, map(float, line.parameters), strict=True))
        values["k"] = float(np.exp(line.parameters[0]))
    if len(drawn):
        with np.errstate(over="ignore"):
            samples = [np.exp(drawn[:, 0]), *drawn[:, 1:].T]
        found = (percentile_interval(one, level) for one in samples)
        interval = dict(zip(line.names, found, strict=True))
    return Equation(form, values, interval, level)


def _excess(bowls: Bowls, quiet: float, level: float) -> Equation:
    """What a rate costs that is off by a factor."""
    q, error = bowls.best[2], bowls.curvature_error(quiet)
    value = q if q > 0 else None
    interval = None
    if value is not None and np.isfinite(error):
        off = error * NormalDist().inv_cdf((1 + level) / 2)
        interval = (max(0.0, q - off), q + off)
    return Equation("q*ln(rate/best)^2", {"q": value}, {"q": interval}, level)


def _block(equation: Equation, usual: float) -> ConfigBlock | None:
    """The law as training.peak_learning_rate of a config takes it; `usual` is B0."""
    k, alpha, beta = (equation.parameters[name] for name in ("k", "alpha", "beta"))
    if k is None or alpha is None or beta is None:
        return None
    delta = equation.parameters.get("delta")
    if delta is None:
        return {"factor": k, "parameters": alpha, "tokens": beta}
    return {"factor": k * usual**-delta, "parameters": alpha, "tokens": beta, "batch": delta}


def _warnings(bowls: Bowls, line: Line, usual: float) -> list[str]:
    outside = [g for g, inside in zip(bowls.groups, bowls.inside, strict=True) if not inside]
    warnings = [
        f"N={g.n_params:.3g}, D={g.tokens:.3g}: the best rate is not inside those tried; try "
        "further ones"
        for g in outside
    ]
    if "delta" in line.names:
        warnings.append(f"k, alpha and beta are for batches of {usual:.4g} tokens (B0)")
    return warnings
