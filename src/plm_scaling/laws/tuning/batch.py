"""The best batch as a power law of N and D: parabolas in ln B through the losses at the best rates.

With a rate that is tuned for each batch, the loss at one N and D is taken as quadratic in ln B near
the best batch, with one curvature for all; the rest is as for rates. Where the losses hardly depend
on the batch, or fall up to an end of those tried, there is no law.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.details import NotAvailable, not_available
from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Minimum, Status
from plm_scaling.laws.tuning.bowls import Bowls, groups_of
from plm_scaling.laws.tuning.cost import held_out_batch, used_values
from plm_scaling.laws.tuning.details import BatchLaw, BatchRow
from plm_scaling.laws.tuning.law import Best, Row
from plm_scaling.laws.verdict import status_of
from plm_scaling.study.laws import MIN_BATCHES

UNVARIED = (
    f"no (N, D) has {MIN_BATCHES} batches with a best rate inside those tried "
    "(sweep.tuning.batch_factors)"
)


def batch_law(
    rates: Best,
    runs: Sequence[Floats],
    swept: NDArray[np.bool_],
    bootstrap: int,
    rng: np.random.Generator,
) -> tuple[Equation | None, BatchLaw | NotAvailable]:
    """The equation, None unless it is to be relied on, and the tables, by the bowls of the rates.

    `runs` are N, D and batch of all runs, arrays (n,); what the batches of those `swept` cost is
    said.
    """
    inside = rates.bowls.inside
    least = rates.bowls.best[1][inside]
    own = [group for group, found in zip(rates.bowls.groups, inside, strict=True) if found]
    n, d, b = (
        np.array([getattr(g, x) for g in own]) for x in ("n_params", "tokens", "batch_tokens")
    )
    groups = groups_of(n, d, np.full(len(n), rates.usual), b, least, MIN_BATCHES)
    if not groups:
        return None, not_available(UNVARIED)
    variances = rates.bowls.least_variances(rates.noise)
    noise = float(np.sqrt(np.nan_to_num(variances).mean()))
    bowls = Bowls.around(groups, b, least)
    best = Best("batch", bowls, rates.usual, noise, rates.level)
    drawn = best.drawn(bootstrap, rng)
    equation, check = best.equation(drawn), held_out_batch(best)
    status, reason = status_of(best.evidence(equation, check))
    known = status == Status.CONVERGED
    n_runs, d_runs, b_runs = runs
    placed = (n_runs, d_runs, np.full(len(n_runs), rates.usual), b_runs)
    return equation if known else None, {
        "status": status,
        "reason": reason,
        "config": best.block(equation) if known else None,
        "curvature": best.excess().parameters["q"],
        "groups": [_row(row) for row in best.rows(b, least)],
        "used": [
            {"batch_tokens": value, "law_batch": law, **costs}
            for value, law, costs in used_values(best, drawn, placed, swept)
        ],
        "held_out": check,
    }


def _row(row: Row) -> BatchRow:
    return {
        "n_params": row.group.n_params,
        "tokens": row.group.tokens,
        "best_batch": row.best,
        "loss": row.loss,
        "law_batch": row.law,
        "excess": row.excess,
        "status": Minimum.OUTSIDE_BATCHES if row.best is None else Minimum.ACCEPTED,
        "batches": [
            {"batch_tokens": batch, "loss": loss, "fitted": fitted}
            for batch, loss, fitted in row.tried
        ],
    }
