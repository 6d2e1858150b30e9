"""Standard errors of scores, by drawing groups of items (proteins, assays) again and again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from plm_scaling.inference.arrays import Ints

DRAWS = 500


def standard_error(
    statistic: Callable[[Ints], float | None], groups: int, seed: int
) -> float | None:
    """Standard deviation of `statistic` of groups drawn with replacement.

    `statistic` takes the numbers of the drawn groups, and gives None where it is not defined: such
    draws do not count. None for fewer than two groups, or where half of the draws do not count.
    """
    if groups < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn = (statistic(rng.integers(groups, size=groups)) for _ in range(DRAWS))
    values = [value for value in drawn if value is not None]
    return float(np.std(values, ddof=1)) if len(values) > DRAWS // 2 else None


def mean_error(values: NDArray[np.float64], seed: int) -> float | None:
    """That of the mean of the values of groups."""
    return standard_error(lambda drawn: float(values[drawn].mean()), len(values), seed)


def ratio_error(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> float | None:
    """That of the mean over all items of the groups, by the sum and the number of each group's."""
    return standard_error(
        lambda drawn: float(sums[drawn].sum() / counts[drawn].sum()), len(sums), seed
    )
