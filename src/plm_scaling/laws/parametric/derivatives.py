"""Derivatives of the parametric misfit in the coordinates in which Newton's method is fast.

Runs determine the level E + A' + B' and the slopes a = α·A' and b = β·B' in the middle of the data
well, and the curvatures α and β poorly, so that in θ = (E, A', B', α, β) the misfit is a narrow
bent valley. In φ = (E, A', B', a, b) the directions that the runs determine are straight.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.parametric.surface import LEAST_PREDICTION, Surface
from plm_scaling.laws.stats.intervals import Floats

Bools = NDArray[np.bool_]
VANISHED = 1e-9  # nats; a term this small has no exponent, and a/A' must not be formed
ROWS_IN_CACHE = 128
TERMS = ((1, 3), (2, 4))  # (A', α) and (B', β) in θ; (A', a) and (B', b) in φ


@dataclass(frozen=True)
class Derivatives:
    """Misfit (S,), its gradient (S, 5) and Hessian (S, 5, 5) in φ, and a diagonal (S, 5).

    `majorant` is the diagonal of a positive second derivative that is never too small: it replaces
    Huber's function by the parabola that touches it (weights min(1, δ/|r|)) and leaves out the
    curvature of the surface.
    """

    misfit: Floats
    gradient: Floats
    hessian: Floats
    majorant: Floats

    def rows(self, chosen: Bools) -> "Derivatives":
        """Those of some rows."""
        return Derivatives(*(own[chosen] for own in vars(self).values()))

    def replace(self, other: "Derivatives", where: Bools) -> "Derivatives":
        """Rows of `other` where `where` (S,) is true, own rows elsewhere."""
        merged = self.rows(np.ones(len(where), bool))
        for own, new in zip(vars(merged).values(), vars(other).values(), strict=True):
            own[where] = new[where]
        return merged


def derivatives(surface: Surface, theta: Floats, weights: Floats) -> Derivatives:
    """At θ (S, 5) under `weights` (S, n)."""
    blocks = [
        _of_block(surface, theta[i : i + ROWS_IN_CACHE], weights[i : i + ROWS_IN_CACHE])
        for i in range(0, len(theta), ROWS_IN_CACHE)
    ]
    parts = zip(*(vars(block).values() for block in blocks), strict=True)
    return blocks[0] if len(blocks) == 1 else Derivatives(*map(np.concatenate, parts))


def _of_block(surface: Surface, theta: Floats, weights: Floats) -> Derivatives:
    """As `derivatives`.

    With p = e^(−α·x), x = ln(N/N₀), and a = α·A' held: ∂L/∂A' = p·(1 + α·x), ∂L/∂a = −x·p, and the
    second derivatives are x²·p/A' times the outer product of (−α, 1).
    """
    e, a, b, alpha, beta = (column[:, None] for column in theta.T)
    jacobian = np.empty((len(theta), 5, len(surface.log_loss)))
    n_bend, d_bend = alpha * surface.log_n, beta * surface.log_d
    n_part, d_part = np.exp(-n_bend), np.exp(-d_bend)
    prediction = np.maximum(e + a * n_part + b * d_part, LEAST_PREDICTION)
    r = np.log(prediction) - surface.log_loss
    inverse = np.divide(1, prediction, out=jacobian[:, 0])  # of ln L̂, hence all over L̂
    n_part *= inverse
    d_part *= inverse
    np.multiply(n_part, 1 + n_bend, out=jacobian[:, 1])
    np.multiply(d_part, 1 + d_bend, out=jacobian[:, 2])
    np.multiply(n_part, -surface.log_n, out=jacobian[:, 3])
    np.multiply(d_part, -surface.log_d, out=jacobian[:, 4])

    clipped = np.clip(r, -surface.delta, surface.delta)
    pull = weights * clipped
    misfit = np.einsum("sn,sn->s", pull, r - 0.5 * clipped)
    gradient = (jacobian @ pull[:, :, None])[:, :, 0]
    bend = weights * (clipped == r) - pull
    hessian = (jacobian * bend[:, None, :]) @ jacobian.transpose(0, 2, 1)
    touch = np.where(r == 0, weights, pull / np.where(r == 0, 1, r))
    majorant = (np.square(jacobian) @ touch[:, :, None])[:, :, 0]
    for (i, k), log_x in zip(TERMS, (surface.log_n, surface.log_d), strict=True):
        part, exponent = theta[:, i], theta[:, k]
        second = -(jacobian[:, k] * pull) @ log_x  # Σ pull·x²·p/L̂
        second = np.where(part > VANISHED, second / np.maximum(part, VANISHED), 0.0)
        hessian[:, k, k] += second
        hessian[:, i, k] -= second * exponent
        hessian[:, k, i] -= second * exponent
        hessian[:, i, i] += second * exponent**2
    return Derivatives(misfit, gradient, hessian, majorant)
