"""Checks that every fit makes of its runs before it believes them."""

from typing import Any

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.stats.intervals import Floats, Labels, percent

COMPUTE_TOLERANCE = 0.05


def as_floats(name: str, values: Any) -> Floats:
    """Array, list, tuple or pandas Series `values` as floats (n,), by position: labels are dropped.

    Raises LawError naming the argument `name` if they are not a row of numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LawError(f"{name}: not numbers ({error}); give one number per run") from None
    if array.ndim != 1:
        raise LawError(f"{name}: shape {array.shape}; give one number per run, shape (n,)")
    return array


def as_labels(name: str, values: Any, n_runs: int) -> Labels:
    """Array, list or pandas Series `values` as text (n_runs,), by position.

    Raises LawError naming the argument `name` if they are not one label per run.
    """
    labels = np.asarray(values).astype(str)
    if labels.shape != (n_runs,):
        raise LawError(f"{name}: shape {labels.shape}; give one label per run, shape ({n_runs},)")
    return labels


def check_runs(**columns: Any) -> list[Floats]:
    """The columns as float arrays (`as_floats`), equally long, positive and finite.

    Raises LawError naming what is not so. A missing loss is NaN and must be left out before, with
    its reason, never turned into a number.
    """
    arrays = {name: as_floats(name, values) for name, values in columns.items()}
    check_lengths(**arrays)
    for name, values in arrays.items():
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise LawError(
                f"run {bad[0]} (of {len(values)}), column {name}: {values[bad[0]]} is not a "
                "positive finite number; leave such runs out"
            )
    return list(arrays.values())


def check_lengths(**columns: Any) -> None:
    """Raise LawError naming the columns unless they are equally long."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LawError(f"columns of runs differ in length: {lengths}; give one value per run")


def compute_warning(
    n_params: Floats,
    tokens: Floats,
    flops: Floats,
    so: str = "D_opt is computed as C/(6·N_opt) all the same",
) -> list[str]:
    """A sentence if the runs' FLOPs are not 6·N·D, and what follows."""
    off = np.abs(flops / (6 * n_params * tokens) - 1)
    count = int((off > COMPUTE_TOLERANCE).sum())
    if not count:
        return []
    return [
        f"{count} of {len(flops)} runs have FLOPs more than {percent(COMPUTE_TOLERANCE)} away from "
        f"6·N·D (up to {percent(off.max())}); {so}"
    ]
