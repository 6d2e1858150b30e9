"""The parametric law L = E + A/N^α + B/D^β (approach 3 of Hoffmann et al. 2022).

Σ Huber_δ(ln L̂ − ln L) over the runs is minimised from every point of a grid over (α, β), by Newton
steps with exact derivatives; intervals come from resampled runs, each fitted from several starts.
The compute-optimal allocation follows: N_opt = G·(C/6)^a, D_opt = (C/6)^b/G with a = β/(α+β),
b = α/(α+β), G = (αA/(βB))^(1/(α+β)) (their eq. 4).
"""

from typing import Any

import numpy as np

from plm_scaling.errors import LawError
from plm_scaling.laws.budgets import group_budgets
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.frontier_table import frontier_rows
from plm_scaling.laws.intervals import (
    Floats,
    Interval,
    check_settings,
    multiplicities,
    percentile_interval,
)
from plm_scaling.laws.optima import (
    Optimum,
    bounds_hit,
    find_optima,
    profile_floor,
    resample_optima,
)
from plm_scaling.laws.parametric_health import fit_warnings, profile_summary
from plm_scaling.laws.power import PowerLaw, PowerLaws, power_equation
from plm_scaling.laws.result import Equation, LawResult
from plm_scaling.laws.surface import NAMES, Surface

MIN_RUNS = 6  # five parameters and something left to judge them by
MAX_ALLOCATION_WIDTH = 0.5  # an interval of a wider than this says next to nothing
OPTIMA_KEPT = 5
METHOD = (
    "sum of Huber(delta={delta:g}) of the log loss over the runs, minimised by damped Newton steps "
    "from a 16 x 16 grid over (alpha, beta) with non-negative E, A, B; intervals by a bootstrap "
    "over runs, refitted from several starts; N and D by Hoffmann et al. 2022 eq. 4; residual_rms "
    "is of ln(loss)"
)


def fit_parametric(
    n_params: Floats,
    tokens: Floats,
    loss: Floats,
    *,
    huber_delta: float = 1e-3,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 1,
) -> LawResult:
    """Fit L(N, D) to runs, all arrays of shape (n,): non-embedding parameters, tokens, nats/token.

    Raises LawError with fewer than six distinct (N, D) or values not positive and finite.
    """
    check_settings(bootstrap, level)
    check_runs(n_params=n_params, tokens=tokens, loss=loss)
    if not huber_delta > 0:
        raise LawError(f"laws.huber_delta is {huber_delta}; give a positive number such as 1e-3")
    distinct = len(np.unique(np.stack([n_params, tokens]), axis=1).T)
    if distinct < MIN_RUNS:
        raise LawError(
            f"{distinct} distinct run(s); the parametric law has five parameters and needs at "
            f"least {MIN_RUNS}: train more cells, or fit only isoflop"
        )
    surface = Surface.of(n_params, tokens, loss, huber_delta)
    optima = find_optima(surface)
    if not optima:
        raise LawError(
            "the parametric fit converged from no start; check the runs for losses that "
            "are not in nats/token or tables that mix objectives"
        )
    best = optima[0]
    counts = multiplicities(len(loss), bootstrap, seed)
    usable = (counts > 0).sum(axis=1) >= MIN_RUNS
    samples = np.full((bootstrap, 5), np.nan)
    if usable.any():
        samples[usable] = resample_optima(surface, optima, counts[usable])
    equations, law, resampled = _equations(surface, best, samples, level)
    interval = equations["N"].interval["a"]
    hit = bounds_hit(surface, best.theta)
    status = _status(hit, interval)
    profile = profile_summary(surface, best, profile_floor(surface, best))
    residuals = surface.log_prediction(best.theta[None])[0] - surface.log_loss
    flops = 6 * n_params * tokens
    return LawResult(
        law="parametric",
        method=METHOD.format(delta=huber_delta),
        n_points=len(loss),
        equations=equations,
        objective_value=best.misfit,
        residual_rms=float(np.sqrt((residuals**2).mean())),
        status=status,
        warnings=fit_warnings(surface, optima, samples, profile, hit, interval, distinct),
        details={
            "huber_delta": huber_delta,
            "bounds_hit": hit,
            "optima": [_optimum_row(surface, o) for o in optima[:OPTIMA_KEPT]],
            "profile_E": profile,
            "frontier": frontier_rows(flops, law, resampled, level) if law else [],
            "held_out": _held_out(n_params, tokens, loss, huber_delta),
            "bootstrap": {
                "kind": "runs",
                "resamples": bootstrap,
                "seed": seed,
                "share_unusable": float(np.isnan(samples[:, 0]).mean()) if bootstrap else None,
            },
        },
    )


def _status(hit: list[str], interval: Interval | None) -> str:
    """E at 0 is a result of its own; a term at its bound leaves the allocation undetermined."""
    wide = interval is not None and interval[1] - interval[0] > MAX_ALLOCATION_WIDTH
    if wide or set(hit) - {"E"}:
        return "not_identified"
    return "at_bound" if hit else "converged"


def predict_loss(result: LawResult, n_params: Floats, tokens: Floats) -> Floats:
    """The fitted loss (nats/token) at N and D; a term that vanished contributes nothing."""
    p = {name: value or 0.0 for name, value in result.equations["L"].parameters.items()}
    return p["E"] + p["A"] / n_params ** p["alpha"] + p["B"] / tokens ** p["beta"]


def _allocation(natural: Floats) -> PowerLaws:
    """N_opt = k·C^a implied by rows (S, 5) of E, A, B, α, β; NaN where a term vanished."""
    _, a_term, b_term, alpha, beta = natural.T
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(alpha * a_term) - np.log(beta * b_term)
    exponent = beta / (alpha + beta)
    log_k = log_ratio / (alpha + beta) - exponent * np.log(6)
    valid = np.isfinite(log_k)
    return PowerLaws(np.where(valid, log_k, np.nan), np.where(valid, exponent, np.nan))


def _equations(
    surface: Surface, best: Optimum, samples: Floats, level: float
) -> tuple[dict[str, Equation], dict[str, Any] | None, dict[str, Any]]:
    """Equations L, N and D, and the laws behind the frontier: of the fit and of the resamples."""
    values = surface.natural(best.theta)
    resampled = surface.natural(samples)
    parameters: dict[str, float | None] = dict(zip(NAMES, map(float, values), strict=True))
    interval = {n: percentile_interval(resampled[:, i], level) for i, n in enumerate(NAMES)}
    for term, exponent in (("A", "alpha"), ("B", "beta")):
        if parameters[term] == 0:  # without the term its exponent means nothing
            parameters[exponent] = interval[exponent] = None
    n_laws = _allocation(resampled)
    d_laws = PowerLaws(-np.log(6) - n_laws.log_k, 1 - n_laws.exponent)
    n_one = _allocation(values[None])
    n_law = d_law = law = None
    if np.isfinite(n_one.log_k[0]):
        n_law = PowerLaw(float(n_one.log_k[0]), float(n_one.exponent[0]))
        d_law = PowerLaw(-float(np.log(6)) - n_law.log_k, 1 - n_law.exponent)
        law = {"N": n_law, "D": d_law, "L": lambda c: _loss(values, n_law(c), d_law(c))}
    of_resamples = {
        "N": n_laws,
        "D": d_laws,
        "L": lambda c: _loss(resampled.T, n_laws(c), d_laws(c)),
    }
    equations = {
        "L": Equation("E + A/N^alpha + B/D^beta", parameters, interval, level),
        "N": power_equation("a", n_law, n_laws, level),
        "D": power_equation("b", d_law, d_laws, level),
    }
    return equations, law, of_resamples


def _loss(natural: Floats, n_params: Floats, tokens: Floats) -> Floats:
    e, a, b, alpha, beta = natural
    return e + a / n_params**alpha + b / tokens**beta


def _optimum_row(surface: Surface, optimum: Optimum) -> dict[str, Any]:
    natural = surface.natural(optimum.theta)
    return {
        "objective_value": optimum.misfit,
        "starts": optimum.starts,
        **dict(zip(NAMES, map(float, natural), strict=True)),
    }


def _held_out(n_params: Floats, tokens: Floats, loss: Floats, delta: float) -> dict[str, Any]:
    """Fit without the dearest budget, predict its losses."""
    groups = group_budgets(6 * n_params * tokens)
    dearest = groups[-1][1]
    rest = np.setdiff1d(np.arange(len(loss)), dearest)
    distinct = len(np.unique(np.stack([n_params[rest], tokens[rest]]), axis=1).T)
    if distinct < MIN_RUNS:
        return {
            "status": "not_available",
            "why": f"{distinct} distinct runs remain without the dearest budget; "
            f"{MIN_RUNS} are needed",
        }
    surface = Surface.of(n_params[rest], tokens[rest], loss[rest], delta)
    optima = find_optima(surface)
    if not optima:
        return {"status": "not_available", "why": "the fit without the dearest budget failed"}
    fitted = _loss(surface.natural(optima[0].theta), n_params[dearest], tokens[dearest])
    error = fitted - loss[dearest]
    return {
        "status": "done",
        "fitted_on_flops": [budget for budget, _ in groups[:-1]],
        "predicted_at_flops": groups[-1][0],
        "n_predicted": len(dearest),
        "loss": {
            "mean_error": float(error.mean()),
            "rms_error": float(np.sqrt((error**2).mean())),
        },
    }
