"""Rows that are not independent in a table that does not say so: checkpoints of a run, copies."""

from dataclasses import replace

import numpy as np

from plm_scaling.laws.parametric.influence import robust_scale
from plm_scaling.laws.parametric.runs import Runs
from plm_scaling.laws.stats.intervals import Floats

LEAST_ROWS = 3  # of a size; two have one step, which says nothing of how dense they are
DENSE = 2.05  # tokens from checkpoint to checkpoint at most double; budgets of a sweep rise by more
MOST_ROWS = 0.8  # share of the rows that belong to such sizes
ALIKE = 0.3  # correlation of the residuals of neighbours; chance gives 1/sqrt(pairs)
GUESSED = (
    "the rows look like checkpoints of {groups} runs, one per size (a guess: their tokens rise in "
    "small steps and the residuals of neighbours are alike, correlation {alike:.2f}), so sizes are "
    "resampled, not rows; give a column group, one label a run, to decide it"
)


def guess_groups(runs: Runs, residuals: Floats) -> tuple[Runs, list[str]]:
    """The runs with their sizes as groups if they look like checkpoints, and a sentence on it.

    A sweep with each size at many budgets also repeats its sizes. Checkpoints of one run are dense
    in tokens, their losses fall, and what is peculiar to the run they share: the residuals (n,) of
    the fit are correlated from one to the next.
    """
    if runs.group is not None:
        return runs, []
    errors = np.clip(residuals / robust_scale(residuals), -3, 3)
    dense, products, squares, pairs = 0, 0.0, 0.0, 0
    sizes, member = np.unique(runs.n_params, return_inverse=True)
    for k in np.flatnonzero(np.bincount(member) >= LEAST_ROWS):
        rows = np.flatnonzero(member == k)
        rows = rows[np.argsort(runs.tokens[rows], kind="stable")]
        steps, rises = np.diff(np.log(runs.tokens[rows])), np.diff(runs.loss[rows]) > 0
        if np.median(steps) > np.log(DENSE) or rises.mean() > 0.5:
            continue
        dense += len(rows)
        products += float(errors[rows][1:] @ errors[rows][:-1])
        squares += float((errors[rows] ** 2).mean()) * (len(rows) - 1)
        pairs += len(rows) - 1
    if dense < MOST_ROWS * len(member) or products < max(ALIKE, 4 / np.sqrt(pairs)) * squares:
        return runs, []
    said = GUESSED.format(groups=len(sizes), alike=products / squares)
    return replace(runs, group=runs.n_params.astype(str)), [said]


def copies_warning(runs: Runs) -> list[str]:
    """A sentence if rows of one group repeat others to the last digit."""
    columns = np.stack([runs.n_params, runs.tokens, runs.loss])
    again = columns.shape[1] - np.unique(columns, axis=1).shape[1]
    if not again:
        return []
    return [
        f"{again} of {len(runs.loss)} rows repeat N, D and loss of another; if they are copies, "
        "leave them out: they narrow the intervals"
    ]
