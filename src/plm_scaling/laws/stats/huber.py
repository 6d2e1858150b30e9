"""Huber's loss, which a few runs far off do not decide."""

import numpy as np

from plm_scaling.laws.stats.intervals import Floats


def huber(error: Floats, delta: float) -> Floats:
    """error²/2 up to |error| = delta, delta·(|error| − delta/2) beyond; any shape."""
    clipped = np.clip(error, -delta, delta)
    return clipped * (error - 0.5 * clipped)
