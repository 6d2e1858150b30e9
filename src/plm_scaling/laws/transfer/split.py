"""Which share of a compute budget the source objective should get, as far as a table says."""

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from plm_scaling.laws.checks import as_floats, check_lengths, check_runs
from plm_scaling.laws.points import columns, most_shared
from plm_scaling.laws.stats.intervals import Floats

SAME_TOTAL = 0.05  # relative width of a group of runs with one compute sum
MIN_SHARES = 4  # distinct shares: a parabola and something left to judge it by


def split_points(runs: pd.DataFrame) -> dict[str, Floats]:
    """n_params, flops, source_flops (0 from scratch) and loss of the runs on the corpus that most
    transferred ones share, each (n,)."""
    known = runs[(runs["init_from"] == "") | (runs["source_flops"] > 0)]
    common = most_shared(known.loc[known["init_from"] != "", "corpus"])
    used = known[known["corpus"] == common]
    source = used["source_flops"].where(used["init_from"] != "", 0.0)
    return columns(used.assign(source_flops=source), "n_params", "flops", "source_flops", "loss")


class ShareRow(TypedDict):
    """One size and compute sum: the best source share, None if outside the shares tried."""

    n_params: float
    total_flops: float
    n_runs: int
    share: float | None
    shares_tried: list[float]


def best_split(
    n_params: Floats, flops: Floats, source_flops: Floats, loss: Floats
) -> list[ShareRow]:
    """The best source share for each size and compute sum with at least four distinct shares, by a
    quadratic of the loss in share = source/(source + target)."""
    n_params, flops, loss = check_runs(n_params=n_params, flops=flops, loss=loss)
    source_flops = as_floats("source_flops", source_flops)
    check_lengths(flops=flops, source_flops=source_flops)
    total = flops + source_flops
    share = source_flops / total
    rows: list[ShareRow] = []
    for size in np.unique(n_params):
        here = np.flatnonzero(n_params == size)
        here = here[np.argsort(total[here])]
        while len(here):
            inside = total[here] <= total[here[0]] * (1 + SAME_TOTAL)
            group, here = here[inside], here[~inside]
            if len(np.unique(share[group])) < MIN_SHARES or not share[group].any():
                continue
            square, slope, _ = np.polyfit(share[group], loss[group], 2)
            vertex = -slope / (2 * square) if square > 0 else np.nan
            found = bool(share[group].min() < vertex < share[group].max())
            rows.append(
                {
                    "n_params": float(size),
                    "total_flops": float(total[group].mean()),
                    "n_runs": len(group),
                    "share": float(vertex) if found else None,
                    "shares_tried": sorted({float(s) for s in share[group]}),
                }
            )
    return rows
