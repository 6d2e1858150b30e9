"""Which rule of the filter drops how many sequences, by the filter's own code."""

from collections import Counter
from types import SimpleNamespace
from typing import cast

import numpy as np

from plm_scaling.config.data import Thresholds
from plm_scaling.filter import complexity
from plm_scaling.filter.ngram import CHUNK_RESIDUES, END
from plm_scaling.filter.rules import REASONS, judge
from plm_scaling.filter.score import SCORES
from plm_scaling.filter.scores import PartScores


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
    # What is measured of a sequence is a function named as the column of the score table.
    measured = {name: getattr(complexity, name)(chunk, lengths) for name in SCORES[1:]}
    verdicts = judge(limits, cast(PartScores, SimpleNamespace(length=lengths, **measured)))
    counts = np.bincount(verdicts, minlength=len(REASONS)).tolist()
    return Counter({reason: n for reason, n in zip(REASONS, counts, strict=True) if n})
