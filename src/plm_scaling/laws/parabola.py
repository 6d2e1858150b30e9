"""The quadratic in ln N through one IsoFLOP budget, and whether it has a minimum."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from plm_scaling.laws.intervals import Floats, Interval
from plm_scaling.progress import short_number

MIN_SIZES = 4  # three sizes fit any quadratic exactly and leave nothing to judge it by


@dataclass(frozen=True)
class Quadratic:
    """L = c0 + c1·x + c2·x², x = ln N − centre, by least squares through n runs.

    `solver` (3, n) maps losses to coefficients, so that resamples cost one product; `residuals`
    are measured − fitted, in nats.
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
    """One budget: its quadratic, if enough sizes, and whether that has a minimum.

    `status`: accepted; too_few_sizes (no fit); no_minimum (c2 ≤ 0); edge (the vertex lies outside
    the sizes).
    """

    budget: float
    n_runs: int
    n_sizes: int
    status: str
    n_range: Interval
    fit: Quadratic | None = None

    @property
    def vertex(self) -> tuple[float, float] | None:
        """(N at the minimum, loss there) of an accepted budget."""
        if self.status != "accepted" or self.fit is None:
            return None
        log_n, loss = vertices(self.fit.coefficients[None, :], self.fit.centre)
        return float(np.exp(log_n[0])), float(loss[0])

    def reason(self) -> str:
        """Why the budget has no minimum, in words."""
        low, high = self.n_range
        return {
            "too_few_sizes": f"{self.n_sizes} distinct size(s), {MIN_SIZES} are needed",
            "no_minimum": "the parabola does not open upwards",
            "edge": "the vertex lies outside the sizes trained "
            f"({short_number(low)} to {short_number(high)})",
        }.get(self.status, "")

    def to_json(self, interval: Interval | None) -> dict[str, Any]:
        """The row of the `minima` table; coefficients are of 1, ln N, (ln N)²."""
        vertex = self.vertex
        coefficients = None
        if self.fit is not None:
            c0, c1, c2 = self.fit.coefficients
            m = self.fit.centre
            coefficients = [float(c0 - c1 * m + c2 * m * m), float(c1 - 2 * c2 * m), float(c2)]
        return {
            "flops": self.budget,
            "n_runs": self.n_runs,
            "n_sizes": self.n_sizes,
            "status": self.status,
            "reason": self.reason(),
            "n_params": vertex and vertex[0],
            "n_params_interval": None if interval is None else list(interval),
            "tokens": vertex and self.budget / (6 * vertex[0]),
            "loss": vertex and vertex[1],
            "coefficients": coefficients,
            "residual_rms": self.fit and self.fit.rms,
            "n_params_range": list(self.n_range),
        }


def vertices(coefficients: Floats, centre: float) -> tuple[Floats, Floats]:
    """(ln N, loss) at the vertex of each row of `coefficients` (S, 3); NaN where c2 ≤ 0."""
    c0, c1, c2 = coefficients.T
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(c2 > 0, -c1 / (2 * c2), np.nan)
    return centre + x, c0 + c1 * x / 2


def fit_parabola(budget: float, n_params: Floats, loss: Floats) -> Parabola:
    """Least squares of loss (n,) on ln N; the status says whether the minimum can be used."""
    n_sizes = len(np.unique(n_params))
    n_range = (float(n_params.min()), float(n_params.max()))
    if n_sizes < MIN_SIZES:
        return Parabola(budget, len(loss), n_sizes, "too_few_sizes", n_range)
    log_n = np.log(n_params)
    centre = float(log_n.mean())
    design = np.vander(log_n - centre, 3, increasing=True)
    solver: Floats = np.linalg.pinv(design).astype(np.float64)
    coefficients = solver @ loss
    log_vertex, _ = vertices(coefficients[None, :], centre)
    if not coefficients[2] > 0:
        status = "no_minimum"
    elif not log_n.min() < log_vertex[0] < log_n.max():
        status = "edge"
    else:
        status = "accepted"
    fitted = design @ coefficients
    leverage = np.einsum("ij,ji->i", design, solver)
    fit = Quadratic(centre, coefficients, solver, fitted, loss - fitted, leverage)
    return Parabola(budget, len(loss), n_sizes, status, n_range, fit)
