"""Compute, size and split of two models of equal size, for single laws and for resamples."""

from statistics import NormalDist

import numpy as np

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.power import PowerLaw, PowerLaws

NEWTON_STEPS = 8  # the error squares from within a factor 2^a: to rounding


def compute_sum(pair: tuple[PowerLaw, PowerLaw], n_params: Floats | float) -> Floats:
    """C_CLM(N) + C_MLM(N), FLOPs."""
    return pair[0].inverse(n_params) + pair[1].inverse(n_params)


def columns(pair: tuple[PowerLaw, PowerLaw]) -> tuple[PowerLaws, PowerLaws]:
    """The same laws as series of one."""
    first, second = (PowerLaws(np.array([p.log_k]), np.array([p.exponent])) for p in pair)
    return first, second


def size_for(pair: tuple[PowerLaws, PowerLaws], flops: Floats) -> Floats:
    """N (S, n) of two equal models that together cost `flops` (n,), for S pairs of laws.

    ln C_sum is convex and increasing in ln N, so Newton's steps from the right fall to the
    solution; they start at the size that one objective could afford, at most a factor 2^a away.
    """
    log_c = np.log(flops)[None, :]
    lines = [(law.log_k[:, None], law.exponent[:, None]) for law in pair]
    log_n = np.minimum(*(log_k + a * log_c for log_k, a in lines))
    with np.errstate(invalid="ignore"):  # of a law without resamples
        for _ in range(NEWTON_STEPS):
            first, second = ((log_n - log_k) / a for log_k, a in lines)
            total = np.logaddexp(first, second)
            slope = np.exp(first - total) / lines[0][1] + np.exp(second - total) / lines[1][1]
            log_n = log_n - (total - log_c) / slope
    return np.exp(log_n)


def resample_from_frontier(
    result: LawResult, resamples: int, rng: np.random.Generator
) -> PowerLaws:
    """Normal resamples of (ln k, a) of N = k·C^a; NaN if the law has no intervals.

    With u = ln C − mean(ln C) and k' the value of N at the mean, the middle of the interval of ln N
    is ln k' + a·u and its squared half-width, in units of the normal's, var(ln k') + 2·cov·u +
    var(a)·u². Both are fitted to the rows of the law's frontier table.
    """
    rows = [r for r in result.details.get("frontier", []) if r["n_params_interval"] is not None]
    if len(rows) < 3 or not resamples:
        return PowerLaws(np.full(resamples, np.nan), np.full(resamples, np.nan))
    log_c = np.log([r["flops"] for r in rows])
    bounds = np.log([r["n_params_interval"] for r in rows])
    z = NormalDist().inv_cdf((1 + result.equations["N"].level) / 2)
    square = ((bounds[:, 1] - bounds[:, 0]) / (2 * z)) ** 2
    centre = log_c.mean()
    mean_a, mean_k = np.polyfit(log_c - centre, bounds.mean(axis=1), 1)
    variance_a, twice_covariance, variance_k = np.polyfit(log_c - centre, square, 2)
    variance_a, variance_k = max(variance_a, 0.0), max(variance_k, 0.0)
    most = np.sqrt(variance_a * variance_k)
    covariance = np.clip(twice_covariance / 2, -most, most)
    draws = rng.standard_normal((resamples, 2))
    correlation = covariance / most if most else 0.0
    other = correlation * draws[:, 0] + np.sqrt(1 - correlation**2) * draws[:, 1]
    exponent = mean_a + np.sqrt(variance_a) * other
    exponent[exponent <= 0] = np.nan  # such a law cannot be inverted
    return PowerLaws(mean_k + np.sqrt(variance_k) * draws[:, 0] - exponent * centre, exponent)


def ratio(pair: tuple[PowerLaws, PowerLaws]) -> PowerLaws:
    """C_MLM/C_CLM = r·N^s."""
    clm, mlm = pair
    log_r = clm.log_k / clm.exponent - mlm.log_k / mlm.exponent
    return PowerLaws(log_r, 1 / mlm.exponent - 1 / clm.exponent)


def equal_size(pair: tuple[PowerLaws, PowerLaws]) -> Floats:
    """N at which both objectives take half; inf or NaN where there is none."""
    law = ratio(pair)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.exp(-law.log_k / law.exponent)
