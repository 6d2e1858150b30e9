"""ProteinGym's average of a score over assays, and that of each selection type."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from plm_scaling.laws.stats.assays import average

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

    def of(rows: pd.DataFrame) -> Average:
        found = average(rows[["value"]].to_numpy(), rows["protein"], rows["type"], resamples, seed)
        several = rows["protein"].nunique() > 1
        error = float(found.standard_error[0]) if several else None
        return Average(float(found.value[0]), error, len(rows))

    return {"": of(table)} | {str(name): of(rows) for name, rows in table.groupby("type")}
