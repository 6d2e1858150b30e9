"""Damped Newton descent inside a box, for many starts and many resamples in one array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.intervals import Floats
from plm_scaling.laws.surface import Surface

MAX_STEPS = 400
LARGEST_DAMPING = 1e12
SMALLEST_GAIN = 1e-15  # relative; below this a step changes nothing that can be seen


@dataclass(frozen=True)
class Descent:
    """Where each start ended: θ (S, 5), its misfit (S,), and whether it stands still there."""

    theta: Floats
    misfit: Floats
    converged: NDArray[np.bool_]


def descend(
    surface: Surface, start: Floats, weights: Floats, hold: tuple[int, ...] = ()
) -> Descent:
    """Minimise the misfit from each row of `start` (S, 5) under `weights` (S, n).

    Levenberg's scheme: the exact Hessian plus a multiple of the majorant's diagonal; the multiple
    falls after a step that lowers the misfit and rises after one that does not, which also covers
    Hessians that are not positive. A parameter at its bound whose gradient points outwards is held
    for the step, and those in `hold` throughout.
    """
    low, high = surface.bounds
    theta = np.clip(start, low, high)
    weights = np.broadcast_to(weights, (len(theta), weights.shape[1]))
    misfit = surface.misfit(theta, weights)
    damping = np.full(len(theta), 1e-2)
    idle = np.zeros(len(theta), int)
    moving = np.arange(len(theta))
    for _ in range(MAX_STEPS):
        if not len(moving):
            break
        here, w = theta[moving], weights[moving]
        gradient, hessian, majorant = surface.derivatives(here, w)
        held = ((here <= low) & (gradient > 0)) | ((here >= high) & (gradient < 0))
        held[:, list(hold)] = True
        step = _step(gradient, hessian, majorant, damping[moving], held)
        there = np.clip(here + step, low, high)
        value = surface.misfit(there, w)
        gain = misfit[moving] - value
        better = gain > 0
        theta[moving[better]] = there[better]
        misfit[moving[better]] = value[better]
        damping[moving] *= np.where(better, 0.2, 5.0)
        damping[moving] = np.maximum(damping[moving], 1e-12)
        small = gain <= SMALLEST_GAIN * misfit[moving]
        idle[moving] = np.where(small, idle[moving] + better, 0)
        moving = moving[(damping[moving] < LARGEST_DAMPING) & (idle[moving] < 3)]
    still = np.ones(len(theta), bool)
    still[moving] = False
    return Descent(theta, misfit, still)


def _step(
    gradient: Floats, hessian: Floats, majorant: Floats, damping: Floats, held: NDArray[np.bool_]
) -> Floats:
    """−(H + λ·diag(majorant))⁻¹·g in the parameters that are free to move."""
    diagonal = np.einsum("sii->si", majorant)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-300))
    scale = np.where(held | (diagonal <= 0), 0.0, scale)  # a vanished term has no slope in α
    matrix = hessian * scale[:, :, None] * scale[:, None, :]
    matrix += (damping[:, None] * np.ones(5) + (scale == 0))[:, :, None] * np.eye(5)
    return -scale * np.linalg.solve(matrix, (gradient * scale)[:, :, None])[:, :, 0]
