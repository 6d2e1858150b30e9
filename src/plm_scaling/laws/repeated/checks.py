"""How far the repeated runs may lie from the law that was fitted to them."""

import numpy as np
from scipy.special import fdtri

from plm_scaling.laws.repeated.details import Misfit
from plm_scaling.laws.stats.intervals import Floats

SIGNIFICANT = 0.999
FACTOR = 3.0  # times the scatter of fresh runs; within it the error of the base law is a reason too
RERUN_SCATTER = 0.008  # nats; two runs of one setting differ by this in the study's logs
MISFIT_LIMITS = (0.001, 0.1)  # nats; less matters to no one, more is no noise of a held-out loss


def misfit_of(errors: Floats, scatter: float | None, freedom_fresh: int) -> Misfit:
    """Root mean square (nats, over the degrees of freedom) of the repeated runs' `errors` (n,), and
    its largest value at the `scatter` (nats) of the fresh runs; without these, of reruns."""
    freedom = len(errors) - 2
    limit = FACTOR * RERUN_SCATTER
    if scatter is not None:
        chance = float(np.sqrt(fdtri(freedom, freedom_fresh, SIGNIFICANT)))
        limit = float(np.clip(max(FACTOR, chance) * scatter, *MISFIT_LIMITS))
    return {
        "residual_rms_nats": float(np.sqrt((errors**2).sum() / freedom)),
        "fresh_scatter_nats": scatter,
        "largest_misfit_nats": limit,
    }
