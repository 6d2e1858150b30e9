"""Which rule of the filter drops how many sequences, by the filter's own code."""

from collections import Counter

import numpy as np

from plm_scaling.config.data import Thresholds
from plm_scaling.filter.complexity import distinct_3mer_ratio, unknown_fraction
from plm_scaling.filter.ngram import CHUNK_RESIDUES, END
from plm_scaling.filter.rules import REASONS, judge


def judged(limits: Thresholds, sequences: list[bytes]) -> Counter[str]:
    """How many of the sequences have each verdict of `REASONS`; perplexity needs the run."""
    found: Counter[str] = Counter()
    group: list[bytes] = []
    size = 0
    for sequence in sequences:
        group.append(sequence)
        size += len(sequence)
        if size >= CHUNK_RESIDUES:
            found += _judged(limits, group)
            group, size = [], 0
    return found + _judged(limits, group) if group else found


def _judged(limits: Thresholds, sequences: list[bytes]) -> Counter[str]:
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    chunk = END.join([*sequences, b""])
    unknown, distinct = unknown_fraction(chunk, lengths), distinct_3mer_ratio(chunk, lengths)
    verdicts = np.bincount(judge(limits, lengths, unknown, distinct), minlength=len(REASONS))
    return Counter({reason: n for reason, n in zip(REASONS, verdicts.tolist(), strict=True) if n})
