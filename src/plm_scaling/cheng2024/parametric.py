"""How Table A9 of the study came about: one descent that stops early.

The mean of Huber(1e-3) of the log loss, minimised by scipy's L-BFGS-B at its default tolerances
with numerical gradients. On a mean these tolerances stop long before the minimum; from START the
CLM row of Table A9 is where they stop. What to use instead is `plm_scaling.laws.parametric.fit`.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from plm_scaling.laws.parametric.surface import NAMES
from plm_scaling.laws.stats.huber import huber
from plm_scaling.laws.stats.intervals import Floats

START = (1.0, 5.0, 10.0, 0.5, 0.5)  # ln E, ln A, ln B, alpha, beta
HUBER_DELTA = 1e-3


def early_descent(n_params: Floats, tokens: Floats, loss: Floats) -> dict[str, float]:
    """E, A, B, alpha and beta where the descent stops; arrays of shape (n,), loss in nats/token."""
    log_n, log_d, log_loss = np.log(n_params), np.log(tokens), np.log(loss)

    def mean_misfit(x: Floats) -> float:
        terms = [np.full_like(log_n, x[0]), x[1] - x[3] * log_n, x[2] - x[4] * log_d]
        error = logsumexp(np.stack(terms), axis=0) - log_loss
        return float(huber(error, HUBER_DELTA).mean())

    x = minimize(mean_misfit, START, method="L-BFGS-B").x
    return dict(zip(NAMES, map(float, [*np.exp(x[:3]), *x[3:]]), strict=True))
