"""Damped Newton descent inside a box, for many starts and many resamples in one array."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.parametric.derivatives import TERMS, VANISHED, Bools, Derivatives, derivatives
from plm_scaling.laws.parametric.surface import Surface
from plm_scaling.laws.stats.intervals import Floats

MAX_STEPS = 400
ROWS_AT_ONCE = 1024  # more fall out of the processor's cache
FIRST_DAMPING, LEAST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-9, 1e8
SMALLEST_GAIN = 1e-12  # relative; a step that gains less leaves θ within 1e-5 of its own spread
ROUNDING = 1e-24  # absolute; the misfit of runs that the surface meets exactly is below it


@dataclass(frozen=True)
class Descent:
    """Where each start ended: θ (S, 5), its misfit (S,), and whether it stands still there."""

    theta: Floats
    misfit: Floats
    converged: Bools


def descend(
    surface: Surface, start: Floats, weights: Floats, hold: tuple[int, ...] = ()
) -> Descent:
    """Minimise the misfit from each row of `start` (S, 5) under `weights` (S, n) or (1, n).

    Levenberg's scheme: the exact Hessian plus a multiple of the majorant; the multiple falls after
    a step that lowers the misfit and rises after one that does not, which also covers Hessians that
    are not positive. A parameter at its bound whose gradient points outwards is held for the step,
    and E, A' or B' in `hold` throughout.
    """
    weights = np.broadcast_to(weights, (len(start), weights.shape[1]))
    blocks = [
        _descend_block(surface, start[i : i + ROWS_AT_ONCE], weights[i : i + ROWS_AT_ONCE], hold)
        for i in range(0, len(start), ROWS_AT_ONCE)
    ]
    parts = zip(*(vars(block).values() for block in blocks), strict=True)
    return Descent(*map(np.concatenate, parts))


def _descend_block(
    surface: Surface, start: Floats, weights: Floats, hold: tuple[int, ...]
) -> Descent:
    low, high = surface.bounds
    here = np.clip(start, low, high)
    slopes = derivatives(surface, here, weights)
    theta, misfit = here.copy(), slopes.misfit.copy()
    converged = np.zeros(len(here), bool)
    damping = np.full(len(here), FIRST_DAMPING)
    moving = np.arange(len(here))
    for _ in range(MAX_STEPS):
        there, steepness = _step(surface, here, slopes, damping, hold)
        beyond = derivatives(surface, there, weights)
        gain = slopes.misfit - beyond.misfit
        better = gain > 0
        here = np.where(better[:, None], there, here)
        slopes = slopes.replace(beyond, better)
        least = SMALLEST_GAIN * slopes.misfit + ROUNDING
        still = (np.abs(gain) <= least) & (steepness <= 100 * least)
        still |= (steepness <= 0.01 * least) | (damping > LARGEST_DAMPING)
        damping = np.maximum(damping * np.where(better, 0.1, 10.0), LEAST_DAMPING)
        if still.any():
            ended = moving[still]
            theta[ended], misfit[ended] = here[still], slopes.misfit[still]
            converged[ended] = True
            rest = ~still
            moving, here, damping = moving[rest], here[rest], damping[rest]
            slopes, weights = slopes.rows(rest), weights[rest]
            if not len(moving):
                break
    theta[moving], misfit[moving] = here, slopes.misfit
    return Descent(theta, misfit, converged)


def _step(
    surface: Surface, theta: Floats, at: Derivatives, damping: Floats, hold: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """θ after the step −(H + λ·majorant)⁻¹·g in φ, and what a step along one axis surely gains."""
    low, high = surface.bounds
    gradient, hessian, majorant, held = _hold(low, high, theta, at, hold)
    scale = np.where(held | (majorant <= 0), 0.0, 1 / np.sqrt(np.maximum(majorant, 1e-300)))
    matrix = hessian * scale[:, :, None] * scale[:, None, :]
    axes = np.arange(5)
    matrix[:, axes, axes] += damping[:, None] + (scale == 0)
    slope = gradient * scale
    step = -scale * np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
    there = theta.copy()
    there[:, :3] = np.clip(theta[:, :3] + step[:, :3], low[:3], high[:3])
    for i, k in TERMS:
        product = theta[:, i] * theta[:, k] + step[:, k]
        moved = product / np.maximum(there[:, i], VANISHED)
        fixed = held[:, k] | (there[:, i] <= VANISHED)
        there[:, k] = np.clip(np.where(fixed, theta[:, k], moved), low[k], high[k])
    return there, 0.5 * (slope**2).max(axis=1)


def _hold(
    low: Floats, high: Floats, theta: Floats, at: Derivatives, hold: tuple[int, ...]
) -> tuple[Floats, Floats, Floats, Bools]:
    """Gradient, Hessian and majorant along the directions left free, and which axes are held.

    Where an exponent is held (at its bound, or of a term that vanished) A' moves along fixed α
    instead of along fixed a = α·A', so α times the axis of a is added to the axis of A'.
    """
    gradient, hessian, majorant = at.gradient.copy(), at.hessian.copy(), at.majorant.copy()
    held = np.zeros(theta.shape, bool)
    for i, k in TERMS:
        part, exponent = theta[:, i], theta[:, k]
        outwards = ((exponent <= low[k]) & (gradient[:, k] > 0)) | (
            (exponent >= high[k]) & (gradient[:, k] < 0)
        )
        held[:, k] = outwards | (part <= VANISHED)
        shift = np.where(held[:, k], exponent, 0.0)
        gradient[:, i] += shift * gradient[:, k]
        hessian[:, i, :] += shift[:, None] * hessian[:, k, :]
        hessian[:, :, i] += shift[:, None] * hessian[:, :, k]
        majorant[:, i] = (np.sqrt(majorant[:, i]) + shift * np.sqrt(majorant[:, k])) ** 2
    at_low = (theta[:, :3] <= low[:3]) & (gradient[:, :3] > 0)
    at_high = (theta[:, :3] >= high[:3]) & (gradient[:, :3] < 0)
    held[:, :3] |= at_low | at_high
    held[:, list(hold)] = True
    return gradient, hessian, majorant, held
