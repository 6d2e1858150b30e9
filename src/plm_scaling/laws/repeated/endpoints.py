"""The data-constrained law from end points of runs (Muennighoff et al. 2023, eq. 5 to 7).

L = E + A/N'^α + B/D'^β with D' and N' as in `model`. The base law is given, or fitted to
the runs that repeat nothing and whose N' is N; R*_D and R*_N are then fitted to the repeated runs.
Their surface is a flat valley with local optima, so it is tabulated per run on a grid, zoomed into,
and resampled by weighing the tabulated runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.details import HeldOutRuns, NotAvailable, loss_errors, not_available
from plm_scaling.laws.parametric.checks import count_distinct
from plm_scaling.laws.parametric.optima import find_optima, resample_optima
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.repeated.checks import check_misfit, select_runs, without_excess
from plm_scaling.laws.repeated.details import EndPointDetails, OpenInterval
from plm_scaling.laws.repeated.model import (
    at_limit,
    closed,
    effective_params,
    effective_tokens,
    lowest_on_grid,
    narrower_grid,
    open_interval,
    open_sentence,
    optimal_params,
    r_grid,
    worth_rows,
)
from plm_scaling.laws.repeated.overfit import fit_overfit, overfit_equation
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.stats.blocks import rms
from plm_scaling.laws.stats.budgets import group_budgets
from plm_scaling.laws.stats.huber import huber
from plm_scaling.laws.stats.intervals import NO_BOOTSTRAP, Floats, check_settings, multiplicities
from plm_scaling.laws.status import Basis, Check, Status

GRID_POINTS = 60
ZOOMS = 6  # passes; each narrows the grid to the minima of the last
BASE_LAYERS = 20  # resampled base laws; each is tabulated once and serves a share of the resamples
MIN_BASE_RUNS, MIN_REPEATED_RUNS = 6, 3
REPEATED = 1.01  # epochs; a sweep's rounding is no repetition
MIN_EXCESS = 0.1  # R_N of the most oversized run, below which N' is N
D_FORM = "U + U*R_D*(1 - exp(-R/R_D))"
N_FORM = "U_N + U_N*R_N*(1 - exp(-R/R_N))"
METHOD = (
    "sum of Huber(delta={delta:g}) of the log loss over the repeated runs on a grid over ln R*_D "
    "and ln R*_N, zoomed; base law {base}; intervals by a bootstrap over repeated runs{layers}; "
    "residual_rms is of ln(loss)"
)


@dataclass(frozen=True)
class _Runs:
    """Repeated runs: N, D, U and ln L, each (n,)."""

    n_params: Floats
    tokens: Floats
    unique: Floats
    log_loss: Floats

    def at(self, chosen: NDArray[Any]) -> "_Runs":
        """Those of a mask or of indices."""
        return _Runs(*(column[chosen] for column in vars(self).values()))

    def log_error(self, base: Mapping[str, float], r_d: Floats, r_n: Floats) -> Floats:
        """ln L̂ − ln L, (R_N values, R_D values, n)."""
        d = effective_tokens(self.tokens, self.unique, r_d[:, None])
        n = effective_params(self.n_params, optimal_params(base, self.unique), r_n[:, None])
        d_part = base["B"] / d ** base["beta"]
        n_part = base["A"] / n ** base["alpha"]
        return np.log(base["E"] + n_part[:, None] + d_part[None]) - self.log_loss


def fit_repeated(
    n_params: Floats,
    tokens: Floats,
    unique_tokens: Floats,
    loss: Floats,
    *,
    base: Mapping[str, float] | None = None,
    huber_delta: float = 1e-3,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    run: Sequence[str] | None = None,
) -> LawResult[EndPointDetails]:
    """Fit R*_D and R*_N to runs, arrays of shape (n,): parameters, tokens, unique tokens, nats.

    `base` holds E, A, B, alpha and beta; without it they are fitted to the runs with tokens up to
    `unique_tokens`. `run` names the runs, for `taken` of the result. Raises LawError for unusable
    values or too few runs.
    """
    check_settings(bootstrap, level)
    n_params, tokens, unique_tokens, loss = check_runs(
        n_params=n_params, tokens=tokens, unique_tokens=unique_tokens, loss=loss
    )
    unique = np.minimum(unique_tokens, tokens)
    again = tokens / unique > REPEATED
    if again.sum() < MIN_REPEATED_RUNS:
        raise LawError(
            f"{again.sum()} of {len(loss)} run(s) see tokens more than once; the repeated law "
            f"needs at least {MIN_REPEATED_RUNS}: train cells with tokens above unique_tokens"
        )
    fresh = (n_params[~again], tokens[~again], loss[~again])
    used = np.ones(len(loss), bool)
    left_out, biased = "", ""
    if base is not None:
        bases = _given(base)
    else:
        chosen, left_out, biased = without_excess(
            fresh, lambda part: _fitted(part, huber_delta, 0, seed)[0], _enough
        )
        fresh = select_runs(fresh, chosen)
        used[~again] = chosen
        bases = _fitted(fresh, huber_delta, bootstrap, seed)
    runs = _Runs(n_params, tokens, unique, np.log(loss)).at(again)
    best = bases[0]
    r_d, r_n = _search(runs, best, huber_delta)
    errors = runs.log_error(best, np.array([r_d]), np.array([r_n]))[0, 0]
    samples = _resample(runs, bases, huber_delta, bootstrap, seed)
    intervals = [open_interval(samples[:, k], level) for k in (0, 1)]
    excess_n = float((runs.n_params / optimal_params(best, runs.unique)).max() - 1)
    d_value, d_why = _identified("D", r_d, intervals[0])
    n_value, n_why = _identified("N", r_n, intervals[1], excess_n)
    errors_nats = np.exp(runs.log_loss) * np.expm1(errors)
    fit_quality, misfit = check_misfit(errors_nats, fresh, best, fitted=base is None)
    reasons = [reason for reason in (biased, misfit) if reason]
    repetitions = runs.tokens / runs.unique - 1
    as_fresh = best["A"] / runs.n_params ** best["alpha"] + best["B"] / runs.tokens ** best["beta"]
    over = fit_overfit(repetitions, np.exp(runs.log_loss) - best["E"] - as_fresh)
    warnings = reasons + d_why + n_why + [left_out] * bool(left_out)
    if not bootstrap:
        warnings.append(NO_BOOTSTRAP)
    return LawResult(
        law="repeated",
        method=METHOD.format(
            delta=huber_delta,
            base="as given" if base is not None else "fitted to the runs that repeat nothing",
            layers="" if base is not None else f" and over base runs ({BASE_LAYERS} base laws)",
        ),
        n_points=int(again.sum()),
        equations={
            "D_eff": Equation(D_FORM, {"R_D": d_value}, {"R_D": closed(intervals[0])}, level),
            "N_eff": Equation(N_FORM, {"R_N": n_value}, {"R_N": closed(intervals[1])}, level),
            "excess": overfit_equation(over, level),
        },
        objective_value=float(huber(errors, huber_delta).sum()),
        residual_rms=rms(errors),
        status=Status.NOT_IDENTIFIED if reasons else _status(r_d, d_value),
        warnings=warnings,
        details={
            "kind": Basis.END_POINTS,
            "base": {name: float(best[name]) for name in NAMES},
            "n_base_runs": len(fresh[0]) if base is None else None,
            "epochs_range": [float(e) for e in (repetitions.min() + 1, repetitions.max() + 1)],
            "open_intervals": {"R_D": intervals[0], "R_N": intervals[1]},
            "excess_rms_nats": over.rms,
            **fit_quality,
            "worth": worth_rows(d_value),
            "held_out": _held_out(runs, best, huber_delta),
            "bootstrap": {"kind": "runs", "resamples": bootstrap, "seed": seed},
        },
        taken=None if run is None else {str(name) for name in np.asarray(run)[used]},
    )


def _given(base: Mapping[str, float]) -> list[dict[str, float]]:
    if missing := [name for name in NAMES if name not in base]:
        raise LawError(
            f"the base law lacks {', '.join(missing)}; give {', '.join(NAMES)} of "
            "E + A/N^alpha + B/D^beta"
        )
    return [{name: float(base[name]) for name in NAMES}]


def _fitted(
    fresh: tuple[Floats, Floats, Floats], delta: float, bootstrap: int, seed: int
) -> list[dict[str, float]]:
    """The base law of the runs without repetition, then those of BASE_LAYERS resamples of them."""
    n_params, tokens, loss = fresh
    if not _enough(fresh):
        distinct = count_distinct(n_params, tokens)
        raise LawError(
            f"{distinct} distinct run(s) repeat nothing; the base law needs at least "
            f"{MIN_BASE_RUNS}: train such cells, or give `base` (E, A, B, alpha, beta)"
        )
    surface = Surface.of(n_params, tokens, loss, delta)
    optima = find_optima(surface)
    if not optima:
        raise LawError("the base law converged from no start; check the losses of the runs")
    thetas = [optima[0].theta]
    if bootstrap:
        counts = multiplicities(len(loss), BASE_LAYERS, seed)
        counts = counts[(counts > 0).sum(axis=1) >= MIN_BASE_RUNS]
        layers = resample_optima(surface, optima, counts)
        thetas += list(layers[np.isfinite(layers[:, 0])])
    return [dict(zip(NAMES, map(float, surface.natural(t)), strict=True)) for t in thetas]


def _enough(fresh: tuple[Floats, Floats, Floats]) -> bool:
    """Whether a base law can be fitted to N, D and loss of fresh runs."""
    return count_distinct(*fresh[:2]) >= MIN_BASE_RUNS


def _search(runs: _Runs, base: Mapping[str, float], delta: float) -> tuple[float, float]:
    """(R*_D, R*_N) of least misfit: the whole grid, then ever smaller grids around its best."""
    r_d = r_n = r_grid(GRID_POINTS)
    for _ in range(ZOOMS):
        misfit = huber(runs.log_error(base, r_d, r_n), delta).sum(axis=2)
        best_n, best_d = np.unravel_index(misfit.argmin(), misfit.shape)
        found = float(r_d[best_d]), float(r_n[best_n])
        r_d, r_n = narrower_grid(misfit[[best_n]], r_d), narrower_grid(misfit[:, best_d][None], r_n)
    return found


def _resample(
    runs: _Runs, bases: list[dict[str, float]], delta: float, bootstrap: int, seed: int
) -> Floats:
    """(R*_D, R*_N) of each resample, (bootstrap, 2); infinite at the limits of the grid."""
    samples = np.full((bootstrap, 2), np.nan)
    if not bootstrap:
        return samples
    counts = multiplicities(len(runs.tokens), bootstrap, seed + 1)
    layers = bases[1:] or bases
    for base, rows in zip(layers, np.array_split(np.arange(bootstrap), len(layers)), strict=True):
        r_d = r_n = r_grid(GRID_POINTS)
        for _ in range(ZOOMS):
            table = huber(runs.log_error(base, r_d, r_n), delta).reshape(GRID_POINTS**2, -1)
            misfit = (counts[rows] @ table.T).reshape(len(rows), GRID_POINTS, GRID_POINTS)
            along_d, along_n = misfit.min(axis=1), misfit.min(axis=2)
            samples[rows, 0] = lowest_on_grid(along_d, r_d)
            samples[rows, 1] = lowest_on_grid(along_n, r_n)
            r_d, r_n = narrower_grid(along_d, r_d), narrower_grid(along_n, r_n)
    samples[(counts > 0).sum(axis=1) < MIN_REPEATED_RUNS] = np.nan
    return samples


def _identified(
    name: str, value: float, interval: OpenInterval | None, excess: float | None = None
) -> tuple[float | None, list[str]]:
    """R*_name or None, and the reason or the warning that its interval is open."""
    open_end = interval is not None and None in interval
    if excess is not None and excess < MIN_EXCESS:
        return None, [
            f"R*_{name} is not identified: no repeated run is larger than its unique tokens call "
            f"for (largest N/U_N − 1 = {excess:.2f}), so N' = N whatever R*_{name} is"
        ]
    sentence = open_sentence(name, interval)
    if at_limit(value) and not sentence:
        sentence = [f"R*_{name} is not identified: least misfit at the edge of the values scanned"]
    unknown = at_limit(value) or interval == (None, None) or (name == "N" and open_end)
    return (None if unknown else value), sentence


def _status(r_d: float, value: float | None) -> Status:
    if value is not None:
        return Status.CONVERGED
    return Status.AT_BOUND if at_limit(r_d) and r_d > 1 else Status.NOT_IDENTIFIED


def _held_out(runs: _Runs, base: Mapping[str, float], delta: float) -> HeldOutRuns | NotAvailable:
    """The repeated runs of the largest budget, predicted with R* from the others."""
    groups = group_budgets(6 * runs.n_params * runs.tokens)
    budget, largest = groups[-1]
    rest = np.setdiff1d(np.arange(len(runs.tokens)), largest)
    if len(rest) < MIN_REPEATED_RUNS:
        return not_available(f"{len(rest)} repeated run(s) remain without the largest budget")
    r_d, r_n = _search(runs.at(rest), base, delta)
    asked = runs.at(largest)
    log_error = asked.log_error(base, np.array([r_d]), np.array([r_n]))[0, 0]
    return {
        "status": Check.DONE,
        "fitted_on_flops": [budget for budget, _ in groups[:-1]],
        "predicted_at_flops": budget,
        "n_predicted": len(largest),
        "loss": loss_errors(np.exp(asked.log_loss) * np.expm1(log_error)),
    }
