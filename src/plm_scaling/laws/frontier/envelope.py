"""The lower envelope of learning curves: at each compute, the run with the lowest loss.

A bootstrap over runs redraws which runs there are, hence the compute values of the envelope and
the best run at each; the losses themselves are worked out once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.stats.intervals import Floats

SMOOTHING = 5  # evaluations, as in the `loss` of a runs table
REACH = 0.03  # a log that ends this little below a compute still has a loss there


@dataclass(frozen=True)
class Envelope:
    """R runs by rising final compute; run i asks for the envelope at `flops[i]`, where it ends.

    `loss` (R, R) holds at [i, r] the loss of run r at that compute, NaN where r did not get there
    or had passed it at its first evaluation; `ranking` the runs of each row by rising loss.
    """

    names: NDArray[np.str_]
    n_params: Floats
    flops: Floats
    loss: Floats
    ranking: NDArray[np.int64]

    def winners(self, counts: Floats) -> NDArray[np.int64]:
        """The best run at each compute (S, R) among the runs with counts (S, R) above 0.

        Rows of runs that are not drawn have no meaning; they carry weight 0.
        """
        drawn = counts > 0
        best = np.empty(drawn.shape, np.int64)
        for i, order in enumerate(self.ranking):
            best[:, i] = order[drawn[:, order].argmax(axis=1)]
        return best

    def inside(self, counts: Floats, winners: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where the best run (S, R) is neither the smallest nor the largest drawn that got there.

        At the edge of the sizes compared the envelope shows what was trained, not what is best.
        """
        drawn = counts > 0
        by_size = np.argsort(self.n_params, kind="stable")
        result = np.empty(drawn.shape, bool)
        for i in range(len(self.flops)):
            order = by_size[np.isfinite(self.loss[i, by_size])]
            here = drawn[:, order]
            least = self.n_params[order[here.argmax(axis=1)]]
            most = self.n_params[order[-1 - here[:, ::-1].argmax(axis=1)]]
            best = self.n_params[winners[:, i]]
            result[:, i] = (best > least) & (best < most)
        return result

    def candidates(self) -> NDArray[np.int64]:
        """How many runs have a loss at each compute, shape (R,)."""
        return np.isfinite(self.loss).sum(axis=1)


def build_envelope(
    run: Sequence[str] | NDArray[np.str_], n_params: Floats, flops: Floats, loss: Floats
) -> Envelope:
    """Envelope of evaluations (n,), in any order; `run` names the run of each.

    The loss of a run at a compute is the mean of the last five evaluations up to there, linear in
    ln C between two of them. A run given by only its final point has a loss only there.
    """
    names, first, index = np.unique(np.asarray(run), return_index=True, return_inverse=True)
    curves = []
    for i in range(len(names)):
        rows = np.flatnonzero(index == i)
        rows = rows[np.argsort(flops[rows], kind="stable")]
        curves.append((np.log(flops[rows]), _trailing_mean(loss[rows])))
    ends = np.array([log_c[-1] for log_c, _ in curves])
    order = np.argsort(ends, kind="stable")
    table = np.full((len(names), len(names)), np.nan)
    for column, i in enumerate(order):
        log_c, smooth = curves[i]
        low, high = log_c[0] + np.log1p(-REACH), log_c[-1] - np.log1p(-REACH)
        reached = (ends[order] >= low) & (ends[order] <= high)
        table[reached, column] = np.interp(ends[order][reached], log_c, smooth)
    return Envelope(
        names=names[order],
        n_params=n_params[first][order],
        flops=np.exp(ends[order]),
        loss=table,
        ranking=np.argsort(table, axis=1, kind="stable"),
    )


def _trailing_mean(loss: Floats) -> Floats:
    """Mean of each evaluation and up to four before it."""
    total = np.concatenate([[0.0], np.cumsum(loss)])
    last = np.arange(1, len(loss) + 1)
    first = np.maximum(0, last - SMOOTHING)
    return (total[last] - total[first]) / (last - first)
