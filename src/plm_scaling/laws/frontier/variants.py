"""Power laws y = k·x^p through weighted points, in log-log and in linear space.

Both take many series at once: x (T,), y and weights (S, T) or (T,), and give one law per series.
A point of weight 0 does not count, whatever its y.
"""

import numpy as np

from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.power import PowerLaws, fit_power_laws, spread_of

EXPONENTS = np.linspace(-3, 3, 121)  # the scan that finds the basin of the least-squares exponent
MAX_STEPS = 100


def fit_log(x: Floats, y: Floats, weights: Floats) -> PowerLaws:
    """Least squares of ln y on ln x: relative errors count alike; NaN without two distinct x."""
    y, w = np.broadcast_arrays(np.atleast_2d(y), np.atleast_2d(weights))
    return fit_power_laws(np.log(x), np.log(np.where(w > 0, y, 1.0)), w)


def fit_linear(x: Floats, y: Floats, weights: Floats) -> PowerLaws:
    """Least squares of y on k·x^p itself: the largest y decide; NaN without two distinct x.

    k is linear given p, so only p is searched (variable projection): the exponent maximises
    h(p) = 2·ln Σ w·y·x^p − ln Σ w·x^2p, found on a grid and polished by Newton steps kept inside
    the grid cell, with h′ = 2(m₁ − m₂) and h″ = 2v₁ − 4v₂, where m and v are the mean and variance
    of ln x under the weights w·y·x^p and w·x^2p. Exact to rounding and without starting values.
    """
    y, w = np.broadcast_arrays(np.atleast_2d(y), np.atleast_2d(weights))
    y = np.where(w > 0, y, 0.0)
    centre = np.log(x).mean()
    t = np.log(x) - centre
    scale = y.max(axis=1, initial=0.0, keepdims=True)
    usable = spread_of(t, w > 0) > 0
    wy = w * y / np.where(scale > 0, scale, 1.0)
    p = np.full(len(y), np.nan)
    log_k = p.copy()
    p[usable] = _best_exponent(t, wy[usable], w[usable])
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.exp(p[:, None] * t)
        ratio = (wy * powers).sum(axis=1) / (w * powers**2).sum(axis=1)
        log_k = np.log(ratio * scale[:, 0]) - p * centre
    return PowerLaws(log_k, p)


def _best_exponent(t: Floats, wy: Floats, w: Floats) -> Floats:
    """The maximiser of h(p) for each row, to rounding."""
    powers = np.exp(np.outer(t, EXPONENTS))
    h = 2 * np.log(wy @ powers) - np.log(w @ powers**2)
    cell = np.clip(h.argmax(axis=1), 1, len(EXPONENTS) - 2)
    low, high = EXPONENTS[cell - 1], EXPONENTS[cell + 1]
    p = EXPONENTS[cell]
    going = np.arange(len(p))
    for _ in range(MAX_STEPS):
        first = np.exp(p[going, None] * t)
        (m1, v1), (m2, v2) = _moments(t, wy[going] * first), _moments(t, w[going] * first**2)
        slope, curvature, now = 2 * (m1 - m2), 2 * v1 - 4 * v2, p[going]
        low[going] = np.where(slope > 0, now, low[going])
        high[going] = np.where(slope > 0, high[going], now)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = now - slope / curvature
        inside = (curvature < 0) & (newton > low[going]) & (newton < high[going])
        middle = (low[going] + high[going]) / 2
        p[going] = np.where(inside, newton, np.where(slope == 0, now, middle))
        going = going[np.abs(p[going] - now) >= 1e-12]  # Newton squares the error
        if not len(going):
            break
    return p


def _moments(t: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of t under each row of weights; the variance only steers Newton's steps."""
    total, first, second = (weights @ np.stack([np.ones_like(t), t, t**2], axis=1)).T
    mean = first / total
    return mean, second / total - mean**2
