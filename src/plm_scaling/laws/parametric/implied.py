"""The equations that fitted parameters imply: L itself, and the allocation N_opt(C), D_opt(C).

N_opt = G·(C/6)^a, D_opt = (C/6)^b/G with a = β/(α+β), b = α/(α+β), G = (αA/(βB))^(1/(α+β))
(Hoffmann et al. 2022 eq. 4).
"""

from typing import Any

import numpy as np

from plm_scaling.laws.parametric.optima import Optimum
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, percentile_interval
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws, power_equation


def implied_allocation(natural: Floats) -> PowerLaws:
    """N_opt = k·C^a implied by rows (S, 5) of E, A, B, α, β; NaN where a term vanished."""
    _, a_term, b_term, alpha, beta = natural.T
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(alpha * a_term) - np.log(beta * b_term)
    exponent = beta / (alpha + beta)
    log_k = log_ratio / (alpha + beta) - exponent * np.log(6)
    valid = np.isfinite(log_k)
    return PowerLaws(np.where(valid, log_k, np.nan), np.where(valid, exponent, np.nan))


def implied_equations(
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
    n_laws = implied_allocation(resampled)
    d_laws = PowerLaws(-np.log(6) - n_laws.log_k, 1 - n_laws.exponent)
    n_law = implied_allocation(values[None]).first
    d_law = PowerLaw(-float(np.log(6)) - n_law.log_k, 1 - n_law.exponent)
    equations = {
        "L": Equation("E + A/N^alpha + B/D^beta", parameters, interval, level),
        "N": power_equation("k*C^a", n_law, n_laws, level),
        "D": power_equation("k*C^b", d_law, d_laws, level),
    }
    law = {"N": n_law, "D": d_law, "L": lambda c: surface_loss(values, n_law(c), d_law(c))}
    laws = {
        "N": n_laws,
        "D": d_laws,
        "L": lambda c: surface_loss(resampled.T, n_laws(c), d_laws(c)),
    }
    return equations, law if np.isfinite(n_law.log_k) else None, laws


def surface_loss(natural: Floats, n_params: Floats, tokens: Floats) -> Floats:
    """L; infinite where a resample's N or D has left the numbers."""
    e, a, b, alpha, beta = natural
    with np.errstate(divide="ignore"):
        return e + a / n_params**alpha + b / tokens**beta
