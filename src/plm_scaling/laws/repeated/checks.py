"""Whether the repeated runs follow the law that was fitted to them."""

import numpy as np
from scipy.special import fdtri

from plm_scaling.laws.repeated.details import Misfit
from plm_scaling.laws.stats.intervals import Floats

SIGNIFICANT = 0.999
FACTOR = 3.0  # times the scatter of fresh runs; within it the error of the base law is a reason too
RERUN_SCATTER = 0.008  # nats; two runs of one setting differ by this in the study's logs
MISFIT_LIMITS = (0.001, 0.1)  # nats; less matters to no one, more is no noise of a held-out loss


def check_misfit(errors: Floats, scatter: float | None, freedom_fresh: int) -> tuple[Misfit, str]:
    """How far the repeated runs miss the law, against the `scatter` (nats) of the fresh ones.

    `errors` (n,) are predicted − measured losses of the repeated runs, nats. Returns root mean
    squares (nats, over the degrees of freedom) for the law file, and a sentence if the runs do not
    follow the law.
    """
    freedom = len(errors) - 2
    rms = float(np.sqrt((errors**2).sum() / freedom))
    if scatter is None:
        limit, against = FACTOR * RERUN_SCATTER, f"reruns differ by {RERUN_SCATTER:g}"
    else:
        chance = float(np.sqrt(fdtri(freedom, freedom_fresh, SIGNIFICANT)))
        limit = float(np.clip(max(FACTOR, chance) * scatter, *MISFIT_LIMITS))
        against = f"fresh ones their own law by {scatter:.3g}"
    said = ""
    if rms > limit:
        said = (
            f"what repeats are worth is not identified: the repeated runs miss the law by "
            f"{rms:.3g} nats (root mean square), {against}; above {limit:.3g} they do not follow "
            "its form"
        )
    numbers: Misfit = {
        "residual_rms_nats": rms,
        "fresh_scatter_nats": scatter,
        "largest_misfit_nats": limit,
    }
    return numbers, said
