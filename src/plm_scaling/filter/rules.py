"""Rules that look at one sequence at a time, and the order of verdicts."""

import numpy as np

from plm_scaling.config.data import Thresholds
from plm_scaling.filter.scores import PartScores

# In the order in which they are tried; the first that fails is the reason. Perplexity comes last:
# its thresholds are quantiles of the sequences that pass the others.
KEPT = "kept"
LOW_COMPLEXITY = "low_complexity"
TOO_LOW, TOO_HIGH = "perplexity_too_low", "perplexity_too_high"
REASONS = (KEPT, "too_short", "too_long", "too_many_unknown", LOW_COMPLEXITY, TOO_LOW, TOO_HIGH)


def judge(limits: Thresholds, part: PartScores) -> np.ndarray:
    """Code (int8, place in `REASONS`) of each sequence, from what was measured of it.

    A ratio that is missing (NaN, below 3 residues) passes.
    """
    failed = [
        part.length < limits.min_length,
        part.length > limits.max_length,
        part.unknown_fraction > limits.max_unknown_fraction,
        part.distinct_3mer_ratio < limits.min_distinct_3mer_ratio,
    ]
    return np.select(failed, range(1, 1 + len(failed)), default=0).astype(np.int8)
