"""Approach 3 of Hoffmann et al. (2022) as usually coded: L-BFGS-B from 4,500 starts, one by one.

ln L̂ = logsumexp(e, a − α·ln N, b − β·ln D); the sum (not the mean) of Huber losses, the analytic
gradient and tight tolerances, because with the mean or with scipy's defaults it stops early.
"""

import itertools

import numpy as np
from scipy.optimize import minimize

from plm_scaling.laws.parametric.surface import Surface


def hoffmann_starts() -> np.ndarray:
    """Their grid of (e, a, b, alpha, beta), (4500, 5)."""
    e, a = np.linspace(-1, 1, 5), np.linspace(0, 25, 6)
    exponent = np.linspace(0, 2, 5)
    return np.array(list(itertools.product(e, a, a, exponent, exponent)))


def value_and_slope(
    x: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, surface: Surface, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Objective and gradient at x = (e, a, b, alpha, beta)."""
    e, a, b, alpha, beta = x
    terms = np.stack([np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d])
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    shares /= total
    r = top + np.log(total) - surface.log_loss
    clipped = np.clip(r, -surface.delta, surface.delta)
    pull = weights * clipped
    of_n, of_d = pull * shares[1], pull * shares[2]
    gradient = [pull @ shares[0], of_n.sum(), of_d.sum(), -of_n @ log_n, -of_d @ log_d]
    return float(weights @ (clipped * (r - 0.5 * clipped))), np.array(gradient)


def minimise(
    surface: Surface, start: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, list[float]]:
    """(objective, x) where one start ends."""
    log_n, log_d = surface.log_n + surface.centre_n, surface.log_d + surface.centre_d
    weights = np.ones(len(log_n)) if weights is None else weights
    found = minimize(
        value_and_slope,
        start,
        args=(log_n, log_d, surface, weights),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 10_000, "maxfun": 100_000},
    )
    return float(found.fun), list(map(float, found.x))
