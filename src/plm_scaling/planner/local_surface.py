"""What a run off the compute-optimal point is worth, from only an IsoFLOP law.

Near the optimum of a compute C any smooth loss is E + A/N^α + B/D^β with what the law has: N_opt;
the slope s = −dL/dlnC along the minima; the curvature q of the parabolas in ln N; and the exponent
a of N_opt. At the optimum αA/N^α = βB/D^β = s, at fixed C the loss rises by q·(ln N/N_opt)² with
q = s(α+β)/2, and a = β/(α+β) (Hoffmann et al. 2022, eq. 4). A surface fitted to all runs would put
the optimum elsewhere than the parabolas do, and with it what repeats.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Minimum

if TYPE_CHECKING:  # pandas, which a plan does not need
    from plm_scaling.laws.isoflop.fit import Details


def surface_exponents(law: "LawResult[Details]") -> tuple[float, float]:
    """(α, β) of the loss around the optima of an IsoFLOP law.

    Raises LawError if its minima do not fall with compute or its size exponent is not between 0 and
    1.
    """
    log_c, losses, curvature, _ = _accepted(law)
    slope = -np.polyder(np.poly1d(np.polyfit(log_c, losses, min(2, len(losses) - 1))))
    falls: Floats = np.asarray(slope(log_c), dtype=np.float64)
    a = law.equations["N"].parameters["a"]
    if a is None or not 0 < a < 1 or not (falls > 0).all():
        raise LawError(
            f"{law.objective} isoflop: the minima do not fall with compute, or the exponent {a} "
            "of N is not between 0 and 1; more budgets are needed to say what repeated tokens cost"
        )
    total = float(np.median(2 * curvature / falls))  # α + β
    return (1 - a) * total, a * total


def equivalent_share(
    exponents: tuple[float, float], size: Floats | float, tokens: Floats | float
) -> Floats:
    """The share of a compute C whose optimum has the loss of a run of C, at most 1.

    `size` and `tokens` are N and D of the run in units of N_opt(C) and D_opt(C). The loss above E
    is (β·size^−α + α·tokens^−β)/(α+β) of that at the optimum of C, which goes as C^−αβ/(α+β). The
    answer C·share depends only on N and D and grows with both.
    """
    alpha, beta = exponents
    above = (beta * size**-alpha + alpha * tokens**-beta) / (alpha + beta)
    return np.minimum(above ** -((alpha + beta) / (alpha * beta)), 1.0)


def falling_loss(law: "LawResult[Details]", flops: float) -> float:
    """The lowest loss (nats/token) at `flops`: it never rises with compute.

    The power law L(C), corrected between the budgets by how far their minima lie from it: L(C)
    bends in log-log (it has a floor, or steepens), and a power law through all minima misses those
    in the middle by more than their noise. Minima that rise with compute are noise too and share
    their mean, weighted by their runs. Raises LawError if the power law rises.
    """
    k, c = (law.equations["L"].parameters[name] for name in ("k", "c"))
    if k is None or c is None or c >= 0:
        raise LawError(
            f"{law.objective} isoflop: the lowest loss does not fall with compute (L = k*C^{c}); "
            "fit the law to more budgets, further apart"
        )
    log_c, losses, _, runs = _accepted(law)
    log_l = _falling(np.log(losses), runs)
    bend = np.interp(math.log(flops), log_c, log_l - (math.log(k) + c * log_c))
    return math.exp(math.log(k) + c * math.log(flops) + float(bend))


def _accepted(law: "LawResult[Details]") -> tuple[Floats, Floats, Floats, Floats]:
    """ln C, loss (nats/token), curvature and number of runs of the minima that the law uses."""
    used = [m for m in law.details["minima"] if m["status"] == Minimum.ACCEPTED]
    rows = [
        (m["flops"], m["loss"], m["coefficients"] and m["coefficients"][2], m["n_used"])
        for m in used
    ]
    flops, losses, curvature, runs = np.array(rows, float).reshape(-1, 4).T
    return np.log(flops), losses, curvature, runs


def _falling(values: Floats, weights: Floats) -> Floats:
    """The nearest values that never rise, by weighted least squares (pooled adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of values
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), float(weight), 1
        while blocks and blocks[-1][0] < mean:
            before, more, n = blocks.pop()
            mean = (before * more + mean * total) / (more + total)
            total, count = total + more, count + n
        blocks.append((mean, total, count))
    return np.concatenate([np.full(n, mean) for mean, _, n in blocks])
