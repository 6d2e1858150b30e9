"""What parabolas get wrong even without noise, on the sizes and budgets of the sweep.

A quadratic in ln N is exact only at the minimum: on wide or off-centre grids, or where α ≠ β, its
vertex is off, and differently so in each budget, which tilts the exponent. The size of that is
found by simulation: the parametric surface is fitted to all runs of the budgets, in the windows or
not, its losses without noise at the same N and C go through the same parabolas, and the vertices
are compared with the surface's own optimum (Hoffmann et al. 2022 eq. 4).
"""

from typing import Literal

import numpy as np
from typing_extensions import TypedDict

from plm_scaling.laws.details import NotAvailable, not_available
from plm_scaling.laws.isoflop.parabola import Parabola, vertices
from plm_scaling.laws.parametric.implied import implied_allocation, surface_loss
from plm_scaling.laws.parametric.optima import find_optima
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.stats.scatter import Scattered
from plm_scaling.laws.status import Check, Minimum

MIN_RUNS = 6
HUBER_DELTA = 1e-3


class VertexBias(TypedDict):
    """Bias of ln N at one budget."""

    flops: float
    bias: float


class Bias(TypedDict):
    """Parabola − surface: of the exponent a and of ln N at each vertex; and the surface."""

    status: Literal[Check.DONE]
    a: float
    log_n: list[VertexBias]
    surface: dict[str, float]


def parabola_bias(parabolas: list[Parabola], minima: Scattered) -> Bias | NotAvailable:
    """Bias (parabola − surface) of the exponent a and of ln N at each vertex, and the surface.

    `minima` are the vertices of the accepted ones of `parabolas`.
    """
    accepted = [p for p in parabolas if p.status == Minimum.ACCEPTED]
    if len(accepted) < 2:
        return not_available("fewer than two minima")
    fitted = [p for p in parabolas if p.fit is not None]
    n = np.concatenate([p.n_params for p in fitted])
    d = np.concatenate([p.budget / (6 * p.n_params) for p in fitted])
    loss = np.concatenate([p.loss for p in fitted])
    if len(np.unique(np.stack([n, d]), axis=1).T) < MIN_RUNS:
        return not_available("fewer than six distinct runs")
    surface = Surface.of(n, d, loss, HUBER_DELTA)
    optima = find_optima(surface)
    if not optima:
        return not_available("no surface could be fitted")
    natural = surface.natural(optima[0].theta)
    law = implied_allocation(natural[None])
    if not np.isfinite(law.log_k[0]):
        return not_available("the fitted surface has no optimum: one of its terms vanished")
    log_n = []
    for p in accepted:
        assert p.fit is not None
        n = p.n_params[p.used]
        simulated = surface_loss(natural, n, p.budget / (6 * n))
        log_n.append(vertices((p.fit.solver @ simulated)[None], p.fit.centre)[0][0])
    if not np.isfinite(log_n).all():
        return not_available("a parabola through the fitted surface does not open upwards")
    truth = law.log_k[0] + law.exponent[0] * minima.log_x
    exponent = minima.laws(np.array([log_n])).exponent[0]
    return {
        "status": Check.DONE,
        "a": float(exponent - law.exponent[0]),
        "log_n": [
            {"flops": float(c), "bias": float(found - true)}
            for c, found, true in zip((p.budget for p in accepted), log_n, truth, strict=True)
        ],
        "surface": dict(zip(NAMES, map(float, natural), strict=True)),
    }
