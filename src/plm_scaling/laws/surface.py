"""The loss surface L = E + A/N^α + B/D^β and its Huber misfit, for many parameter sets at once.

Parameters are held as θ = (E, A', B', α, β), with N and D in units of their geometric means N₀, D₀
over the runs, so that A' = A/N₀^α and B' = B/D₀^β are the two reducible parts of the loss (nats) in
the middle of the data. That takes most of the correlation between A and α out of the problem.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.intervals import Floats

NAMES = ("E", "A", "B", "alpha", "beta")
EXPONENT_BOUNDS = (0.005, 3.0)  # outside, a term is a constant or a step within any real sweep


@dataclass(frozen=True)
class Surface:
    """Runs as the misfit needs them: ln(N/N₀), ln(D/D₀), ln L, each (n,), and Huber's delta."""

    log_n: Floats
    log_d: Floats
    log_loss: Floats
    centre_n: float
    centre_d: float
    delta: float

    @classmethod
    def of(cls, n_params: Floats, tokens: Floats, loss: Floats, delta: float) -> "Surface":
        """From runs in natural units."""
        log_n, log_d = np.log(n_params), np.log(tokens)
        return cls(
            log_n - log_n.mean(),
            log_d - log_d.mean(),
            np.log(loss),
            float(log_n.mean()),
            float(log_d.mean()),
            delta,
        )

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bounds of θ; no part of the loss exceeds the largest loss seen."""
        low, high = EXPONENT_BOUNDS
        top = float(np.exp(self.log_loss.max()))
        floor = float(np.exp(self.log_loss.min()))
        return np.array([0, 0, 0, low, low]), np.array([floor, top, top, high, high])

    def log_prediction(self, theta: Floats) -> Floats:
        """ln of the fitted loss, (S, n), at θ (S, 5)."""
        e, a, b, alpha, beta = (column[:, None] for column in theta.T)
        prediction = e + a * np.exp(-alpha * self.log_n) + b * np.exp(-beta * self.log_d)
        return np.log(np.maximum(prediction, 1e-300))  # all terms can be zero on the way

    def misfit(self, theta: Floats, weights: Floats) -> Floats:
        """Σ w·Huber_δ(ln L̂ − ln L), (S,): the sum over runs, as in Hoffmann et al. 2022 eq. 10.

        `weights` (S, n) or (1, n) counts each run. With the mean instead of the sum, tolerances
        stop optimisers far from the minimum.
        """
        r = self.log_prediction(theta) - self.log_loss
        size = np.abs(r)
        huber = np.where(size <= self.delta, 0.5 * r * r, self.delta * (size - 0.5 * self.delta))
        return (weights * huber).sum(axis=1)

    def derivatives(self, theta: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Gradient (S, 5), Hessian (S, 5, 5) and its positive majorant (S, 5, 5) of the misfit.

        The majorant replaces Huber's function by the parabola that touches it (weights
        min(1, δ/|r|)) and drops the curvature of the surface, so it is positive semidefinite.
        """
        e, a, b, alpha, beta = (column[:, None] for column in theta.T)
        n_part, d_part = np.exp(-alpha * self.log_n), np.exp(-beta * self.log_d)
        prediction = e + a * n_part + b * d_part
        r = np.log(prediction) - self.log_loss
        n_slope, d_slope = -self.log_n * n_part, -self.log_d * d_part
        columns = (np.ones_like(r), n_part, d_part, a * n_slope, b * d_slope)
        jacobian = np.stack(columns, axis=2) / prediction[:, :, None]
        pull = weights * np.clip(r, -self.delta, self.delta)
        gradient = np.einsum("sn,sni->si", pull, jacobian)
        quadratic = np.abs(r) <= self.delta
        transposed = jacobian.transpose(0, 2, 1)
        hessian = (transposed * (weights * quadratic - pull)[:, None, :]) @ jacobian
        share = pull / prediction
        for i, j, second in (
            (1, 3, n_slope),
            (2, 4, d_slope),
            (3, 3, -a * n_slope * self.log_n),
            (4, 4, -b * d_slope * self.log_d),
        ):
            value = (share * second).sum(axis=1)
            hessian[:, i, j] += value
            if i != j:
                hessian[:, j, i] += value
        touch = weights * np.minimum(1, self.delta / np.maximum(np.abs(r), 1e-300))
        majorant = (transposed * touch[:, None, :]) @ jacobian
        return gradient, hessian, majorant

    def natural(self, theta: Floats) -> Floats:
        """(E, A, B, α, β) of L = E + A/N^α + B/D^β with N in parameters and D in tokens."""
        natural = np.array(theta, float)
        natural[..., 1] *= np.exp(theta[..., 3] * self.centre_n)
        natural[..., 2] *= np.exp(theta[..., 4] * self.centre_d)
        return natural


def best_linear(
    surface: Surface, exponents: Floats, weights: Floats, fixed_floor: float | None = None
) -> Floats:
    """θ (S, G, 5): for each of G pairs (α, β), the non-negative (E, A', B') of least squares.

    Squares of the relative residual, weighted by `weights` (S, n); `fixed_floor` holds E. The
    minimum over non-negative values is the best of the seven sets of terms that may be non-zero.
    """
    loss = np.exp(surface.log_loss)
    n_part = np.exp(-exponents[:, :1] * surface.log_n)
    d_part = np.exp(-exponents[:, 1:] * surface.log_d)
    design = np.stack([np.ones_like(n_part), n_part, d_part], axis=2) / loss[:, None]
    target = np.ones(len(loss)) if fixed_floor is None else 1 - fixed_floor / loss
    products = np.einsum("gni,gnj->ngij", design, design)
    matrix = np.tensordot(weights, products, 1)
    vector = np.tensordot(weights, design.transpose(1, 0, 2) * target[:, None, None], 1)
    best = np.zeros(vector.shape)
    gain = np.zeros(vector.shape[:2])
    allowed: NDArray[np.intp] = np.arange(0 if fixed_floor is None else 1, 3)
    for subset in range(1, 2 ** len(allowed)):
        terms = allowed[[bool(subset >> k & 1) for k in range(len(allowed))]]
        block = matrix[:, :, terms[:, None], terms] + 1e-12 * np.eye(len(terms))
        solution = np.linalg.solve(block, vector[:, :, terms, None])[..., 0]
        value = (solution * vector[:, :, terms]).sum(axis=2)
        better = (solution >= 0).all(axis=2) & (value > gain)
        gain = np.where(better, value, gain)
        candidate = np.zeros(vector.shape)
        candidate[:, :, terms] = solution
        best = np.where(better[:, :, None], candidate, best)
    if fixed_floor is not None:
        best[:, :, 0] = fixed_floor
    pairs = np.broadcast_to(exponents, (*best.shape[:2], 2))
    return np.concatenate([best, pairs], axis=2)
