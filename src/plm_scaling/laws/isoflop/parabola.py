"""The quadratic in ln N through one IsoFLOP budget, and whether it has a minimum."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from typing_extensions import TypedDict

from plm_scaling.common.progress import many, short_number
from plm_scaling.laws.stats.intervals import Floats, Interval, percent
from plm_scaling.laws.status import Minimum

MIN_SIZES = 4  # three sizes fit any quadratic exactly and leave nothing to judge it by
KEPT_SIZES = 5  # the best sizes stay in the window however much their losses differ
STEADY = 0.95  # share of the noise under which a minimum must stay inside its sizes
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
    share_inside: float | None
    """How surely the minimum lies inside the sizes."""
    n_params: float | None
    n_params_interval: Interval | None
    log_n_sd: float | None
    """Standard deviation of ln N from the noise of the losses."""
    tokens: float | None
    loss: float | None
    loss_sd: float | None
    coefficients: tuple[float, float, float] | None
    residual_rms: float | None
    n_params_range: Interval
    """The sizes in the window."""
    runs: list[BudgetRun]


@dataclass(frozen=True)
class Quadratic:
    """L = c0 + c1·x + c2·x², x = ln N − centre, by least squares through n runs.

    `solver` (3, n) maps losses to coefficients; `residuals` are measured − fitted, in nats. In the
    runs ln D = ln(C/6) − ln N + d0 + d1·x: `tokens_line` (2,), zero where C = 6·N·D.
    """

    centre: float
    x: Floats
    coefficients: Floats
    solver: Floats
    fitted: Floats
    residuals: Floats
    leverage: Floats
    tokens_line: Floats

    def log_tokens(self, budget: float, log_n: Floats) -> Floats:
        """ln D of `budget` FLOPs at ln N, as the runs have it."""
        d0, d1 = self.tokens_line
        return math.log(budget / 6) - log_n + d0 + d1 * (log_n - self.centre)

    def share_inside(self, sd: Floats, freedom: int) -> float:
        """How surely the loss falls at the smallest size and rises at the largest.

        From Student's t of both slopes, with noise of `sd` (n,) nats in the losses; that is the
        share of resamples in which the minimum stays inside, without their chance.
        """
        slopes = np.array([[0, 1, 2 * self.x.min()], [0, 1, 2 * self.x.max()]])
        error = np.sqrt(((slopes @ self.solver * sd) ** 2).sum(axis=1))
        falls, rises = (-1, 1) * (slopes @ self.coefficients) / np.maximum(error, 1e-300)
        return max(0.0, float(stdtr(freedom, falls) + stdtr(freedom, rises) - 1))

    def vertex_sd(self, sd: Floats) -> tuple[float, float]:
        """Standard deviations of (ln N, loss) at the vertex, to first order in the noise."""
        _, c1, c2 = self.coefficients
        x = -c1 / (2 * c2)
        to_vertex = np.array([[0, -1 / (2 * c2), -x / c2], [1, x, x * x]])
        log_n, loss = np.sqrt(((to_vertex @ self.solver * sd) ** 2).sum(axis=1))
        return float(log_n), float(loss)

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
    share_inside: float | None = None
    sd: tuple[float, float] | None = None
    """Of (ln N, loss) at the vertex."""

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
    def vertex(self) -> tuple[float, float, float] | None:
        """(N, D, loss) at the minimum of an accepted budget."""
        if self.status != Minimum.ACCEPTED or self.fit is None:
            return None
        log_n, loss = vertices(self.fit.coefficients[None, :], self.fit.centre)
        log_d = self.fit.log_tokens(self.budget, log_n)
        return float(np.exp(log_n[0])), float(np.exp(log_d[0])), float(loss[0])

    def judged(self, sd: Floats, freedom: int) -> "Parabola":
        """With the uncertainty of its minimum, under noise of `sd` (n,) nats in the runs' losses
        known from `freedom` residuals; refused if too few resamples would keep it."""
        if self.fit is None or self.status == Minimum.NO_MINIMUM:
            return self
        sd = sd[self.used]
        share = self.fit.share_inside(sd, freedom)
        steady = self.status != Minimum.ACCEPTED or share >= STEADY
        status = self.status if steady else Minimum.UNSTABLE
        return replace(self, status=status, share_inside=share, sd=self.fit.vertex_sd(sd))

    def reason(self) -> str:
        """Why the budget has no minimum, in words."""
        low, high = self.n_range
        return {
            Minimum.TOO_FEW_SIZES: f"{many(self.n_sizes, 'distinct size')}, {MIN_SIZES} are needed",
            Minimum.NO_MINIMUM: "the parabola does not open upwards",
            Minimum.EDGE: "the vertex lies outside the sizes trained near the lowest loss "
            f"({short_number(low)} to {short_number(high)})",
            Minimum.UNSTABLE: "the vertex stays inside the sizes with a probability of only "
            f"{percent(round(self.share_inside or 0, 2))} under the noise of the losses; "
            f"{percent(STEADY)} are needed",
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
            "share_inside": self.share_inside,
            "n_params": vertex and vertex[0],
            "n_params_interval": interval,
            "log_n_sd": None if vertex is None or self.sd is None else self.sd[0],
            "tokens": vertex and vertex[1],
            "loss": vertex and vertex[2],
            "loss_sd": None if vertex is None or self.sd is None else self.sd[1],
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
    log_excess: Floats,
    members: NDArray[np.int64],
    window: float = WINDOW,
) -> Parabola:
    """Least squares of loss on ln N over the runs of the window; `status` says how it went.

    `n_params`, `loss` and `log_excess` = ln D − ln(C/6N) are those of all runs, `members` the
    indices of this budget's.
    """
    members = members[np.argsort(n_params[members], kind="stable")]
    n, measured = n_params[members], loss[members]
    used = in_window(n, measured[None, :], np.array([window]))[0]
    bare = Parabola(budget, Minimum.TOO_FEW_SIZES, n, measured, members, used)
    if bare.n_sizes < MIN_SIZES:
        return bare
    log_n = np.log(n[used])
    centre = float(log_n.mean())
    x = log_n - centre
    design = np.vander(x, 3, increasing=True)
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
    residuals = measured[used] - fitted
    line: Floats = np.linalg.lstsq(design[:, :2], log_excess[members][used])[0].astype(np.float64)
    fit = Quadratic(centre, x, coefficients, solver, fitted, residuals, leverage, line)
    return Parabola(budget, status, n, measured, members, used, fit)
