"""IsoFLOP budgets: runs whose compute is the same up to the sweep's rounding."""

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.intervals import Floats

TOLERANCE = 0.03  # cells lie within 1 % of their budget; neighbouring budgets are far apart


def group_budgets(
    flops: Floats, tolerance: float = TOLERANCE
) -> list[tuple[float, NDArray[np.int64]]]:
    """(budget, indices of its runs), by rising budget; the budget is the geometric mean.

    A group holds the runs whose FLOPs lie within `tolerance` above its cheapest run. (Rounding to
    one digit, as others do, would put 1.5e19 and 2.4e19 together.)
    """
    order = np.argsort(flops, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if not groups or flops[i] > flops[groups[-1][0]] * (1 + tolerance):
            groups.append([])
        groups[-1].append(int(i))
    return [
        (float(np.exp(np.log(flops[group]).mean())), np.array(sorted(group))) for group in groups
    ]
