"""Rules that look at one sequence at a time, and the order of verdicts."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.common.errors import FilterError

# In the order in which they are tried; the first that fails is the reason. Perplexity comes last:
# its thresholds are quantiles of the sequences that pass the others.
KEPT = "kept"
LOW_COMPLEXITY = "low_complexity"
TOO_LOW, TOO_HIGH = "perplexity_too_low", "perplexity_too_high"
REASONS = (KEPT, "too_short", "too_long", "too_many_unknown", LOW_COMPLEXITY, TOO_LOW, TOO_HIGH)


@dataclass(frozen=True)
class Rules:
    """Limits of one sequence; lengths in residues, fractions 0 to 1."""

    min_length: int
    max_length: int
    max_unknown_fraction: float
    min_distinct_3mer_ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.min_length <= self.max_length:
            raise FilterError(f"lengths {self.min_length} to {self.max_length} keep no sequence")

    def judge(self, length: np.ndarray, unknown: np.ndarray, distinct: np.ndarray) -> np.ndarray:
        """Code (int8, place in `REASONS`) of each sequence, from what was measured of it.

        A ratio that is missing (NaN, below 3 residues) passes.
        """
        failed = [
            length < self.min_length,
            length > self.max_length,
            unknown > self.max_unknown_fraction,
            distinct < self.min_distinct_3mer_ratio,
        ]
        return np.select(failed, range(1, 1 + len(failed)), default=0).astype(np.int8)
