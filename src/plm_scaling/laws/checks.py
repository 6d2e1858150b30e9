"""Checks that every fit makes of its runs before it believes them."""

import numpy as np

from plm_scaling.errors import LawError
from plm_scaling.laws.intervals import Floats, percent

COMPUTE_TOLERANCE = 0.05


def check_runs(**columns: Floats) -> None:
    """Raise LawError unless the columns are 1-d, equally long, positive and finite.

    A missing loss is NaN and must be left out before, with its reason, never turned into a number.
    """
    lengths = {name: np.shape(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or len(next(iter(lengths.values()))) != 1:
        raise LawError(f"columns of runs differ in shape: {lengths}; give one value per run")
    for name, values in columns.items():
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise LawError(
                f"run {bad[0]} (of {len(values)}), column {name}: {values[bad[0]]} is not a "
                "positive finite number; leave such runs out"
            )


def compute_warning(n_params: Floats, tokens: Floats, flops: Floats) -> list[str]:
    """A sentence if the runs' FLOPs are not 6·N·D, which D_opt = C/(6·N_opt) relies on."""
    off = np.abs(flops / (6 * n_params * tokens) - 1)
    count = int((off > COMPUTE_TOLERANCE).sum())
    if not count:
        return []
    return [
        f"{count} of {len(flops)} runs have FLOPs more than {percent(COMPUTE_TOLERANCE)} away from "
        f"6·N·D (up to {percent(off.max())}); D_opt is computed as C/(6·N_opt) all the same"
    ]
