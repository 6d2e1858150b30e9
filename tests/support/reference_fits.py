"""The parametric fit as others do it: scipy's L-BFGS-B, tight tolerances, a start at a time."""

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from plm_scaling.laws.parametric.surface import Surface


def lbfgsb(
    surface: Surface, start: np.ndarray, weights: np.ndarray | None = None
) -> OptimizeResult:
    """Minimise the summed Huber misfit from theta `start` (5,) inside the surface's own bounds."""
    low, high = surface.bounds
    weights = np.ones(len(surface.log_loss)) if weights is None else weights
    return minimize(
        value_and_slope,
        np.clip(start, low, high),
        args=(surface, weights),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 5000, "maxfun": 20000},
    )


def value_and_slope(
    theta: np.ndarray, surface: Surface, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """The misfit and its gradient in theta, written out again (the fit's is in other axes)."""
    e, a, b, alpha, beta = theta
    n_part, d_part = np.exp(-alpha * surface.log_n), np.exp(-beta * surface.log_d)
    prediction = np.maximum(e + a * n_part + b * d_part, 1e-9)
    r = np.log(prediction) - surface.log_loss
    clipped = np.clip(r, -surface.delta, surface.delta)
    pull = weights * clipped / prediction
    gradient = np.array(
        [
            pull.sum(),
            pull @ n_part,
            pull @ d_part,
            -a * (pull @ (n_part * surface.log_n)),
            -b * (pull @ (d_part * surface.log_d)),
        ]
    )
    return float(weights @ (clipped * (r - 0.5 * clipped))), gradient
