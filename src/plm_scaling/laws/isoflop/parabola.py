"""The quadratic in ln N through one IsoFLOP budget, and whether it has a minimum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from plm_scaling.common.progress import short_number
from plm_scaling.laws.stats.intervals import Floats, Interval
from plm_scaling.laws.status import Minimum

MIN_SIZES = 4  # three sizes fit any quadratic exactly and leave nothing to judge it by
KEPT_SIZES = 5  # the best sizes stay in the window however much their losses differ
WINDOW = 0.06  # nats; further from the minimum the curve is no parabola


class BudgetRun(TypedDict):
    """A run of a budget: its loss moved to the budget, and whether the parabola is fitted to it."""

    n_params: float
    loss: float
    in_window: bool


class MinimumRow(TypedDict):
    """One budget, its runs as in the table; `coefficients` are of 1, ln N and (ln N)²."""

    flops: float
    n_runs: int
    n_used: int
    n_sizes: int
    status: Minimum
    reason: str
    n_params: float | None
    n_params_interval: Interval | None
    tokens: float | None
    loss: float | None
    coefficients: tuple[float, float, float] | None
    residual_rms: float | None
    n_params_range: Interval
    """The sizes in the window."""
    runs: list[BudgetRun]


@dataclass(frozen=True)
class Quadratic:
    """L = c0 + c1·x + c2·x², x = ln N − centre, by least squares through n runs.

    `solver` (3, n) maps losses to coefficients; `residuals` are measured − fitted, in nats.
    """

    centre: float
    coefficients: Floats
    solver: Floats
    fitted: Floats
    residuals: Floats
    leverage: Floats

    @property
    def rms(self) -> float:
        """Root mean square of the residuals over their degrees of freedom, nats."""
        return float(np.sqrt((self.residuals**2).sum() / (len(self.residuals) - 3)))


@dataclass(frozen=True)
class Parabola:
    """One budget: its runs by rising N, those in the window, their quadratic if enough sizes."""

    budget: float
    status: Minimum
    n_params: Floats
    loss: Floats
    members: NDArray[np.int64]
    used: NDArray[np.bool_]
    fit: Quadratic | None = None

    @property
    def n_range(self) -> Interval:
        """Smallest and largest size in the window."""
        n = self.n_params[self.used]
        return float(n.min()), float(n.max())

    @property
    def n_sizes(self) -> int:
        """Distinct sizes, in the window or not."""
        return len(np.unique(self.n_params))

    @property
    def vertex(self) -> tuple[float, float] | None:
        """(N at the minimum, loss there) of an accepted budget."""
        if self.status != Minimum.ACCEPTED or self.fit is None:
            return None
        log_n, loss = vertices(self.fit.coefficients[None, :], self.fit.centre)
        return float(np.exp(log_n[0])), float(loss[0])

    def reason(self) -> str:
        """Why the budget has no minimum, in words."""
        low, high = self.n_range
        return {
            Minimum.TOO_FEW_SIZES: f"{self.n_sizes} distinct size(s), {MIN_SIZES} are needed",
            Minimum.NO_MINIMUM: "the parabola does not open upwards",
            Minimum.EDGE: "the vertex lies outside the sizes trained near the lowest loss "
            f"({short_number(low)} to {short_number(high)})",
        }.get(self.status, "")

    def row(self, interval: Interval | None) -> MinimumRow:
        """The row of the `minima` table, with the `interval` of N."""
        vertex = self.vertex
        coefficients = None
        if self.fit is not None:
            c0, c1, c2 = self.fit.coefficients
            m = self.fit.centre
            coefficients = (float(c0 - c1 * m + c2 * m * m), float(c1 - 2 * c2 * m), float(c2))
        return {
            "flops": self.budget,
            "n_runs": len(self.loss),
            "n_used": int(self.used.sum()),
            "n_sizes": self.n_sizes,
            "status": self.status,
            "reason": self.reason(),
            "n_params": vertex and vertex[0],
            "n_params_interval": interval,
            "tokens": vertex and self.budget / (6 * vertex[0]),
            "loss": vertex and vertex[1],
            "coefficients": coefficients,
            "residual_rms": None if self.fit is None else self.fit.rms,
            "n_params_range": self.n_range,
            "runs": [
                {
                    "n_params": float(self.n_params[i]),
                    "loss": float(self.loss[i]),
                    "in_window": bool(self.used[i]),
                }
                for i in np.argsort(self.members)
            ],
        }


def vertices(coefficients: Floats, centre: float) -> tuple[Floats, Floats]:
    """(ln N, loss) at the vertex of each row of `coefficients` (S, 3); NaN where c2 ≤ 0."""
    c0, c1, c2 = coefficients.T
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(c2 > 0, -c1 / (2 * c2), np.nan)
    return centre + x, c0 + c1 * x / 2


def in_window(n_params: Floats, loss: Floats, window: Floats) -> NDArray[np.bool_]:
    """Which runs lie within `window` (S,) nats of the lowest loss in each row of `loss` (S, n).

    `n_params` (n,) must rise. A size counts by its best run; the KEPT_SIZES best ones always stay.
    """
    _, first = np.unique(n_params, return_index=True)
    of_size = np.sort(np.minimum.reduceat(loss, first, axis=1), axis=1)
    kept = of_size[:, min(KEPT_SIZES, len(first)) - 1]
    limit = np.maximum(of_size[:, 0] + window, kept)
    counts = np.diff(np.append(first, len(n_params)))
    best = np.repeat(np.minimum.reduceat(loss, first, axis=1), counts, axis=1)
    chosen: NDArray[np.bool_] = best <= limit[:, None]
    return chosen


def fit_parabola(
    budget: float,
    n_params: Floats,
    loss: Floats,
    members: NDArray[np.int64],
    window: float = WINDOW,
) -> Parabola:
    """Least squares of loss on ln N over the runs of the window; `status` says how it went.

    `n_params` and `loss` are those of all runs, `members` the indices of this budget's.
    """
    members = members[np.argsort(n_params[members], kind="stable")]
    n, measured = n_params[members], loss[members]
    used = in_window(n, measured[None, :], np.array([window]))[0]
    bare = Parabola(budget, Minimum.TOO_FEW_SIZES, n, measured, members, used)
    if bare.n_sizes < MIN_SIZES:
        return bare
    log_n = np.log(n[used])
    centre = float(log_n.mean())
    design = np.vander(log_n - centre, 3, increasing=True)
    solver: Floats = np.linalg.pinv(design).astype(np.float64)
    coefficients = solver @ measured[used]
    log_vertex, _ = vertices(coefficients[None, :], centre)
    if not coefficients[2] > 0:
        status = Minimum.NO_MINIMUM
    elif not log_n.min() < log_vertex[0] < log_n.max():
        status = Minimum.EDGE
    else:
        status = Minimum.ACCEPTED
    fitted = design @ coefficients
    leverage = np.einsum("ij,ji->i", design, solver)
    fit = Quadratic(centre, coefficients, solver, fitted, measured[used] - fitted, leverage)
    return Parabola(budget, status, n, measured, members, used, fit)
