"""The global minimum of the parametric misfit, other optima, and how flat it is in E."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.parametric.derivatives import VANISHED
from plm_scaling.laws.parametric.descent import descend
from plm_scaling.laws.parametric.surface import NAMES, Surface, best_linear
from plm_scaling.laws.stats.intervals import Floats

SAME_MISFIT, SAME_THETA = 1e-6, 1e-3  # relative; closer than this is one optimum
GRID_POINTS = 16
POLISHED = 8  # grid points descended from, besides the grid's own local minima
PILOT = 128  # resamples in the first block; their optima are starts of the later ones
MOST_CANDIDATES = 1000
PROFILE_POINTS = 21


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


def find_optima(surface: Surface) -> list[Optimum]:
    """The minima that descents from a grid over (α, β) reach, best first.

    At each grid point E, A' and B' follow by least squares (variable projection). Descents start
    from the best points and from every point that none of its eight neighbours beats, so that a
    basin is not missed because a better one is wide.
    """
    grid = best_linear(surface, exponent_grid(GRID_POINTS))[0]
    on_grid = surface.misfit(grid)
    table = np.pad(on_grid.reshape(GRID_POINTS, GRID_POINTS), 1, constant_values=np.inf)
    neighbours = np.lib.stride_tricks.sliding_window_view(table, (3, 3)).min(axis=(2, 3))
    lowest = np.flatnonzero(on_grid <= neighbours.ravel())
    chosen = np.union1d(lowest, np.argsort(on_grid, kind="stable")[:POLISHED])
    return optima_from(surface, grid[chosen])


def optima_from(surface: Surface, starts: Floats) -> list[Optimum]:
    """The distinct minima reached from `starts` (S, 5), best first."""
    descent = descend(surface, starts, np.ones((1, len(surface.log_loss))))
    found = without_vanished(surface, descent.theta)
    optima: list[Optimum] = []
    for i in np.argsort(descent.misfit, kind="stable"):
        if not descent.converged[i]:
            continue
        theta, misfit = found[i], float(descent.misfit[i])
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

    Each resample starts from the best of some hundred candidates: the optima of all runs, the
    profile grid and what earlier blocks of resamples ended at. As the misfit is a sum
    over runs, one product of matrices ranks all candidates in all resamples; near starts halve the
    steps, and candidates from every basin keep a resample from following one. Rows that did not
    converge are NaN.
    """
    grid = best_linear(surface, exponent_grid(GRID_POINTS))[0]
    candidates = np.concatenate([np.stack([o.theta for o in optima]), grid])
    fitted, done, block = [np.empty((0, 5))], 0, PILOT
    while done < len(weights):
        theta = _fit_from_candidates(surface, candidates, weights[done : done + block])
        fitted.append(theta)
        if len(candidates) < MOST_CANDIDATES:
            candidates = np.concatenate([candidates, theta[~np.isnan(theta[:, 0])]])
        done, block = done + block, 4 * block
    return np.concatenate(fitted)


def _fit_from_candidates(surface: Surface, candidates: Floats, weights: Floats) -> Floats:
    """θ (R, 5) of the resamples, each started from the candidate that fits it best."""
    nearest = (weights @ surface.misfits(candidates).T).argmin(axis=1)
    descent = descend(surface, candidates[nearest], weights)
    found = without_vanished(surface, descent.theta)
    return np.where(descent.converged[:, None], found, np.nan)


def without_vanished(surface: Surface, theta: Floats) -> Floats:
    """θ (S, 5) with E, A' or B' at 0 where it gives no run more than VANISHED nats.

    What is left of a term that the runs do not show is rounding, and whether rounding ends just
    above 0 or below it, hence at the bound, differs between machines.
    """
    largest = theta[:, :3].copy()
    largest[:, 1] *= np.exp(-theta[:, 3] * surface.log_n.min())
    largest[:, 2] *= np.exp(-theta[:, 4] * surface.log_d.min())
    return np.concatenate([np.where(largest <= VANISHED, 0.0, theta[:, :3]), theta[:, 3:]], axis=1)


def profile_floor(surface: Surface, best: Optimum) -> list[tuple[float, float, Floats]]:
    """(E, least misfit, θ there) for E from 0 to almost the least loss, by rising E."""
    highest = 0.98 * surface.bounds[1][0]
    floors = np.array(
        sorted({*np.linspace(0, highest, PROFILE_POINTS).tolist(), float(best.theta[0])})
    )
    grids = best_linear(surface, exponent_grid(8), floors)
    starts = []
    for floor, grid in zip(floors, grids, strict=True):
        near = best.theta.copy()
        near[0] = floor
        starts += [*grid[np.argsort(surface.misfit(grid), kind="stable")[:2]], near]
    descent = descend(surface, np.array(starts), np.ones((1, len(surface.log_loss))), hold=(0,))
    misfit = descent.misfit.reshape(len(floors), -1)
    theta = descent.theta.reshape(*misfit.shape, 5)
    lowest = misfit.argmin(axis=1)
    return [(float(floors[i]), float(misfit[i, k]), theta[i, k]) for i, k in enumerate(lowest)]


def bounds_hit(surface: Surface, theta: Floats) -> list[str]:
    """Names of the parameters that lie at a bound."""
    low, high = surface.bounds
    return [n for n, v, lo, hi in zip(NAMES, theta, low, high, strict=True) if v <= lo or v >= hi]
