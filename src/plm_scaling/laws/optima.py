"""The global minimum of the parametric misfit, its rivals, and how flat it is in E."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.descent import descend
from plm_scaling.laws.intervals import Floats
from plm_scaling.laws.surface import NAMES, Surface, best_linear

SAME_MISFIT, SAME_THETA = 1e-6, 1e-3  # relative; closer than this is one optimum
PROFILE_POINTS = 21
RESAMPLE_STARTS = 2  # besides the resample's own best grid point


@dataclass(frozen=True)
class Optimum:
    """A minimum of the misfit, and how many of the starts end there."""

    theta: Floats
    misfit: float
    starts: int


def exponent_grid(points: int) -> Floats:
    """All pairs (α, β) of `points` values from 0.02 to 1.5, even in the logarithm."""
    values = np.geomspace(0.02, 1.5, points)
    return np.stack(np.meshgrid(values, values, indexing="ij"), axis=-1).reshape(-1, 2)


def find_optima(surface: Surface, grid_points: int = 16) -> list[Optimum]:
    """All minima that descents from a grid over (α, β) reach, best first."""
    weights = np.ones((1, len(surface.log_loss)))
    start = best_linear(surface, exponent_grid(grid_points), weights)[0]
    descent = descend(surface, start, weights)
    optima: list[Optimum] = []
    for i in np.argsort(descent.misfit, kind="stable"):
        if not descent.converged[i]:
            continue
        theta, misfit = descent.theta[i], float(descent.misfit[i])
        for k, known in enumerate(optima):
            close = misfit - known.misfit <= SAME_MISFIT * known.misfit + 1e-20
            if close or np.allclose(theta, known.theta, rtol=SAME_THETA, atol=1e-4):
                optima[k] = Optimum(known.theta, known.misfit, known.starts + 1)
                break
        else:
            optima.append(Optimum(theta, misfit, 1))
    return optima


def resample_optima(surface: Surface, optima: list[Optimum], weights: Floats) -> Floats:
    """θ (R, 5) that minimises the misfit of each resample, `weights` (R, n) counting its runs.

    Each resample starts from the best optima of all runs and from the best point of its own
    profile grid; warm starts alone would follow one basin. Rows that did not converge are NaN.
    """
    own = best_linear(surface, exponent_grid(8), weights)
    n_resamples, n_grid, _ = own.shape
    misfit = np.stack([surface.misfit(own[:, g], weights) for g in range(n_grid)], axis=1)
    starts = [own[np.arange(n_resamples), misfit.argmin(axis=1)]]
    starts += [np.tile(o.theta, (n_resamples, 1)) for o in optima[:RESAMPLE_STARTS]]
    best, best_misfit = np.full((n_resamples, 5), np.nan), np.full(n_resamples, np.inf)
    for start in starts:
        descent = descend(surface, start, weights)
        better = descent.converged & (descent.misfit < best_misfit)
        best[better], best_misfit[better] = descent.theta[better], descent.misfit[better]
    return best


def profile_floor(surface: Surface, best: Optimum) -> list[tuple[float, float, Floats]]:
    """(E, least misfit, θ there) for E from 0 to almost the least loss, by rising E."""
    weights = np.ones((1, len(surface.log_loss)))
    highest = 0.98 * surface.bounds[1][0]
    floors = sorted({*np.linspace(0, highest, PROFILE_POINTS).tolist(), float(best.theta[0])})
    starts = []
    for floor in floors:
        grid = best_linear(surface, exponent_grid(8), weights, fixed_floor=floor)[0]
        near = best.theta.copy()
        near[0] = floor
        starts += [*grid[np.argsort(surface.misfit(grid, weights))[:2]], near]
    descent = descend(surface, np.array(starts), weights, hold=(0,))
    misfit = descent.misfit.reshape(len(floors), -1)
    theta = descent.theta.reshape(*misfit.shape, 5)
    lowest = misfit.argmin(axis=1)
    return [(floors[i], float(misfit[i, k]), theta[i, k]) for i, k in enumerate(lowest)]


def bounds_hit(surface: Surface, theta: Floats) -> list[str]:
    """Names of the parameters that lie at a bound."""
    low, high = surface.bounds
    return [n for n, v, lo, hi in zip(NAMES, theta, low, high, strict=True) if v <= lo or v >= hi]
