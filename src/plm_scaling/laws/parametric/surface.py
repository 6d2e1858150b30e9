"""The loss surface L = E + A/N^α + B/D^β and its Huber misfit, for many parameter sets at once.

Parameters are held as θ = (E, A', B', α, β), with N and D in units of their geometric means N₀, D₀
over the runs, so that A' = A/N₀^α and B' = B/D₀^β are the two reducible parts of the loss (nats) in
the middle of the data. That takes most of the correlation between A and α out of the problem.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.stats.huber import huber
from plm_scaling.laws.stats.intervals import Floats

NAMES = ("E", "A", "B", "alpha", "beta")
LEAST_PREDICTION = 1e-9  # nats; on the way all terms can be zero, and the logarithm must exist
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
        return np.log(np.maximum(prediction, LEAST_PREDICTION))

    def misfits(self, theta: Floats) -> Floats:
        """Huber_δ(ln L̂ − ln L) of each run, (S, n), at θ (S, 5)."""
        return huber(self.log_prediction(theta) - self.log_loss, self.delta)

    def misfit(self, theta: Floats, weights: Floats | None = None) -> Floats:
        """Σ w·Huber_δ(ln L̂ − ln L), (S,): the sum over runs, as in Hoffmann et al. 2022 eq. 10.

        `weights` (S, n) or (1, n) counts each run; without, each counts once. With the mean instead
        of the sum, tolerances stop optimisers far from the minimum.
        """
        misfits = self.misfits(theta)
        return misfits.sum(axis=1) if weights is None else (weights * misfits).sum(axis=1)

    def scaled(self, natural: Floats) -> Floats:
        """θ of (E, A, B, α, β) with N in parameters and D in tokens; inverse of `natural`."""
        theta = np.array(natural, float)
        theta[..., 1] *= np.exp(-theta[..., 3] * self.centre_n)
        theta[..., 2] *= np.exp(-theta[..., 4] * self.centre_d)
        return theta

    def natural(self, theta: Floats) -> Floats:
        """(E, A, B, α, β) of L = E + A/N^α + B/D^β with N in parameters and D in tokens."""
        natural = np.array(theta, float)
        natural[..., 1] *= np.exp(theta[..., 3] * self.centre_n)
        natural[..., 2] *= np.exp(theta[..., 4] * self.centre_d)
        return natural


def best_linear(surface: Surface, exponents: Floats, floors: Floats | None = None) -> Floats:
    """θ (F, G, 5): for each of G pairs (α, β), the non-negative (E, A', B') of least squares.

    Squares are of the relative residual. `floors` (F,) holds E at each of its values; without, E is
    fitted and F = 1. The minimum over non-negative values is the best of the sets of terms that may
    be non-zero.
    """
    loss = np.exp(surface.log_loss)
    design = np.empty((len(exponents), 3, len(loss)))
    design[:, 0] = 1
    design[:, 1] = np.exp(-exponents[:, :1] * surface.log_n)
    design[:, 2] = np.exp(-exponents[:, 1:] * surface.log_d)
    design /= loss
    target = np.ones((1, len(loss))) if floors is None else 1 - floors[:, None] / loss
    matrix = design @ design.transpose(0, 2, 1)
    vector = (design @ target.T).transpose(2, 0, 1)
    best = np.zeros(vector.shape)
    gain = np.zeros(vector.shape[:2])
    allowed: NDArray[np.intp] = np.arange(0 if floors is None else 1, 3)
    for subset in range(1, 2 ** len(allowed)):
        terms = allowed[[bool(subset >> k & 1) for k in range(len(allowed))]]
        block = matrix[:, terms[:, None], terms] + 1e-12 * np.eye(len(terms))
        solution = np.linalg.solve(block, vector[:, :, terms, None])[..., 0]
        value = (solution * vector[:, :, terms]).sum(axis=2)
        better = (solution >= 0).all(axis=2) & (value > gain)
        gain = np.where(better, value, gain)
        candidate = np.zeros(vector.shape)
        candidate[:, :, terms] = solution
        best = np.where(better[:, :, None], candidate, best)
    if floors is not None:
        best[:, :, 0] = floors[:, None]
    pairs = np.broadcast_to(exponents, (*best.shape[:2], 2))
    return np.concatenate([best, pairs], axis=2)
