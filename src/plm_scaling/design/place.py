"""Where the sizes of a budget go: evenly around the expected minimum."""

from collections.abc import Mapping

import numpy as np

WIDENED = 2.0  # standard deviations of ln N by which the range makes room for where the minimum is


def sizes_around(
    log_n: float, log_sd: float, sizes: Mapping[str, int], count: int, reach: float
) -> list[str]:
    """Names of `count` of the `sizes` (name to non-embedding parameters), by rising size.

    They are spread evenly in ln N over `log_n` ± √(reach² + (2·log_sd)²): `log_n` is where the
    minimum is expected and `log_sd` how uncertain that is (standard deviation). Each even place
    takes one size, such that the squared distances are least together; all sizes if there are fewer
    than `count`.
    """
    from scipy.optimize import linear_sum_assignment

    names = sorted(sizes, key=lambda name: sizes[name])
    half = float(np.hypot(reach, WIDENED * log_sd))
    places = np.linspace(log_n - half, log_n + half, count)
    known = np.log([sizes[name] for name in names])
    _, taken = linear_sum_assignment((places[:, None] - known) ** 2)
    return [names[i] for i in sorted(taken)]
