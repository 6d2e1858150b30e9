"""A design's expected half-width by propagation of errors, in a fiftieth of a simulation's time.

It ranks designs, no more: on a few truths noise moves the vertices of the parabolas to first order,
a weighted line goes through them, and what the line is off without noise counts on top. What
windows, unstable minima and resamples add, `simulate` says.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from scipy.special import stdtrit

from plm_scaling.design.prior import EXPONENTS, Prior
from plm_scaling.design.request import Asked
from plm_scaling.design.simulate import LEVEL, Point
from plm_scaling.laws.isoflop.parabola import fit_parabola
from plm_scaling.laws.stats.power import fit_power_laws
from plm_scaling.planner.surface import Surface

BIASED = 3.0  # how much more than an error of noise a bias counts: intervals do not hold it
CORNERS = (1.2, 1.0)  # standard deviations of the exponent and of ln curvature


def screened(asked: Asked, points: Sequence[Point], prior: Prior) -> float:
    """Half-width of the interval of the answer; infinite where a truth has too few minima."""
    budgets = sorted({p.budget for p in points})
    runs = [
        np.array([(p.n_params, p.tokens) for p in points if p.budget == c], float).T
        for c in budgets
    ]
    found = [_square(asked, budgets, runs, prior, truth) for truth in _truths(prior)]
    freedom = min(n for _, n in found) - 2
    if freedom < 1:
        return np.inf
    square = float(np.mean([square for square, _ in found]))
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * np.sqrt(square)


def _truths(prior: Prior) -> list[Surface]:
    """Four surfaces that differ from the prior's in exponent and curvature."""
    s, truths = prior.surface, []
    for a, curvature in product((-CORNERS[0], CORNERS[0]), (-CORNERS[1], CORNERS[1])):
        exponent = float(np.clip(s.a + a * prior.exponent_sd, *EXPONENTS))
        log_k = s.log_k + (s.a - exponent) * prior.pivot
        exponents = s.exponents * float(np.exp(curvature * prior.curvature_sd))
        truths.append(replace(s, log_k=log_k, a=exponent, exponents=exponents))
    return truths


def _square(
    asked: Asked, budgets: list[float], runs: list[np.ndarray], prior: Prior, truth: Surface
) -> tuple[float, int]:
    """Expected square of the error of the answer, and how many minima it rests on."""
    rows = []
    for budget, (n, d) in zip(budgets, runs, strict=True):
        loss = truth.loss(truth.equivalent(n, d))
        parabola = fit_parabola(budget, n, loss, np.zeros(len(n)), np.arange(len(n)))
        if parabola.vertex is None or parabola.fit is None:
            continue
        of_n, of_loss = parabola.fit.vertex_sd(np.full(int(parabola.used.sum()), prior.noise))
        if asked.kind == "loss-at":
            off = parabola.vertex[2] - float(truth.loss(budget))
            rows.append((np.log(budget), off, of_loss**2))
        else:
            off = np.log(parabola.vertex[0]) - float(np.log(truth.size(budget)))
            rows.append((np.log(budget), off, of_n**2 + prior.scatter**2))
    if len(rows) < 3:
        return np.inf, 0
    x, off, variances = np.array(rows).T
    weights = 1 / variances
    line = fit_power_laws(x, off[None], weights[None]).first  # ln k and exponent of what is off
    mean = (weights * x).sum() / weights.sum()
    of_slope = 1 / (weights * (x - mean) ** 2).sum()
    if asked.kind == "exponent":
        return of_slope + BIASED * line.exponent**2, len(rows)
    at = np.log(asked.flops or 1)
    bias = line.log_k + line.exponent * at
    return 1 / weights.sum() + of_slope * (at - mean) ** 2 + BIASED * bias**2, len(rows)
