"""Rules that look at one sequence at a time, and the order of verdicts."""

import numpy as np

from plm_scaling.config.data import Thresholds

# In the order in which they are tried; the first that fails is the reason. Perplexity comes last:
# its thresholds are quantiles of the sequences that pass the others.
KEPT = "kept"
LOW_COMPLEXITY = "low_complexity"
TOO_LOW, TOO_HIGH = "perplexity_too_low", "perplexity_too_high"
REASONS = (KEPT, "too_short", "too_long", "too_many_unknown", LOW_COMPLEXITY, TOO_LOW, TOO_HIGH)


def judge(
    limits: Thresholds, length: np.ndarray, unknown: np.ndarray, distinct: np.ndarray
) -> np.ndarray:
    """Code (int8, place in `REASONS`) of each sequence by its length (residues) and what
    `complexity.unknown_fraction` and `distinct_3mer_ratio` say of it; a missing ratio passes.
    """
    failed = [
        length < limits.min_length,
        length > limits.max_length,
        unknown > limits.max_unknown_fraction,
        distinct < limits.min_distinct_3mer_ratio,
    ]
    return np.select(failed, range(1, 1 + len(failed)), default=0).astype(np.int8)
