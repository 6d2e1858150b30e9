"""ProteinGym's average over assays, so that neither a protein nor a kind of assay counts twice.

First the mean over the assays of a protein and selection type, then over the proteins of a type,
then over the types.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Average:
    """A mean with its standard error over proteins, and of how many assays it is."""

    value: float | None
    standard_error: float | None
    n_assays: int


def averages(
    proteins: Sequence[str],
    types: Sequence[str],
    values: Sequence[float | None],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Average]:
    """The average over all assays, under '', and that of each selection type, by its name.

    An assay without a value (None, NaN) does not count. The standard error is that of a bootstrap
    over the proteins, all assays of one together; None for a single protein.
    """
    table = pd.DataFrame({"protein": proteins, "type": types, "value": values})
    table = table.astype({"value": float}).dropna()
    if table.empty:
        return {"": Average(None, None, 0)}
    means = table.pivot_table("value", "protein", "type", aggfunc="mean")
    names, known = [*means.columns], means.to_numpy()
    drawn = np.random.default_rng(seed).multinomial(
        len(known), np.full(len(known), 1 / len(known)), resamples
    )
    of_type = _weighted(known, np.ones((1, len(known))))[0]
    resampled = _weighted(known, drawn.astype(float))
    counts = table["type"].value_counts()
    return {
        "": Average(
            float(of_type.mean()), _spread(np.nanmean(resampled, axis=1), len(known)), len(table)
        )
    } | {
        name: Average(
            float(of_type[i]),
            _spread(resampled[:, i], int(np.isfinite(known[:, i]).sum())),
            int(counts[name]),
        )
        for i, name in enumerate(names)
    }


def _weighted(known: Values, weights: Values) -> Values:
    """Means [resamples, types] of values [proteins, types] where known, weighted by protein; NaN
    where no protein of a type was drawn."""
    there = np.isfinite(known)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ np.where(there, known, 0)) / (weights @ there))


def _spread(values: Values, n_proteins: int) -> float | None:
    return float(np.nanstd(values, ddof=1)) if n_proteins > 1 else None
