"""The loss around the compute-optimal point, from an IsoFLOP law alone.

Near the optimum of a compute C any smooth loss is E + A/N^α + B/D^β with four numbers that the law
has: N_opt; the slope s = −dL/dlnC along the minima; the curvature q of the parabolas in ln N; and
the exponent a of N_opt. At the optimum αA/N^α = βB/D^β = s, at fixed C the loss rises by
q·(ln N/N_opt)² with q = s(α+β)/2, and a = β/(α+β) (Hoffmann et al. 2022, eq. 4). A surface fitted
to all runs would put the optimum elsewhere than the parabolas do, and with it what repeats.
"""

import math

import numpy as np

from plm_scaling.errors import LawError
from plm_scaling.laws.intervals import Floats
from plm_scaling.laws.result import LawResult


def local_surface(law: LawResult, flops: float, n_params: float, loss: float) -> dict[str, float]:
    """E, A, B, alpha, beta of the surface whose optimum at `flops` is (`n_params`, `loss`).

    E is what is left over and may be negative: the surface holds near the optimum only. Raises
    LawError if the law's minima neither fall with compute nor have a size exponent between 0 and 1.
    """
    minima = [m for m in law.details["minima"] if m["status"] == "accepted"]
    log_c = np.log([m["flops"] for m in minima])
    losses = np.array([m["loss"] for m in minima])
    slope = -np.polyder(np.poly1d(np.polyfit(log_c, losses, min(2, len(minima) - 1))))
    falls: Floats = np.asarray(slope(log_c), dtype=np.float64)
    a = law.equations["N"].parameters["a"]
    if a is None or not 0 < a < 1 or not (falls > 0).all():
        raise LawError(
            f"{law.objective} isoflop: the minima do not fall with compute, or the exponent {a} "
            "of N is not between 0 and 1; more budgets are needed to say what repeated tokens cost"
        )
    curvature = np.array([m["coefficients"][2] for m in minima])
    total = float(np.median(2 * curvature / falls))  # α + β
    alpha, beta = (1 - a) * total, a * total
    s = float(slope(np.clip(math.log(flops), log_c.min(), log_c.max())))
    tokens = flops / (6 * n_params)
    return {
        "E": loss - s / alpha - s / beta,
        "A": s / alpha * n_params**alpha,
        "B": s / beta * tokens**beta,
        "alpha": alpha,
        "beta": beta,
    }
